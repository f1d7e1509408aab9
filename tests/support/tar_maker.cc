#include "support/tar_maker.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "crypto/sha256.h"

namespace davit::test {

namespace {

void put(std::string& block, size_t offset, const std::string& text) {
  block.replace(offset, text.size(), text);
}

std::string octal(uint64_t value, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%0*llo", digits, static_cast<unsigned long long>(value));
  return text;
}

nlohmann::json descriptor(const std::string& type, const std::string& bytes) {
  return {{"mediaType", type}, {"digest", digest_of(bytes)}, {"size", bytes.size()}};
}

}  // namespace

void set_checksum(std::string& block) {
  put(block, 148, "        ");
  uint64_t sum = 0;
  for (size_t i = 0; i < 512; ++i) sum += static_cast<uint8_t>(block[i]);
  put(block, 148, octal(sum, 6) + std::string("\0 ", 2));
}

void set_size_base256(std::string& block, uint64_t size_bytes) {
  for (size_t i = 0; i < 11; ++i, size_bytes >>= 8)
    block[124 + 11 - i] = static_cast<char>(size_bytes & 0xff);
  block[124] = static_cast<char>(0x80);
  set_checksum(block);
}

TarMaker& TarMaker::header(const std::string& name, char type, uint64_t size_bytes,
                           const std::string& link_target) {
  std::string block(512, '\0');
  put(block, 0, name.substr(0, 100));
  put(block, 100, "0000644");
  put(block, 108, "0001750");
  put(block, 116, "0001750");
  put(block, 124, octal(size_bytes, 11));
  put(block, 136, octal(1234567890, 11));
  block[156] = type;
  put(block, 157, link_target.substr(0, 100));
  put(block, 257, std::string("ustar\00000", 8));
  set_checksum(block);
  return raw(block);
}

TarMaker& TarMaker::content(const std::string& bytes) {
  return raw(bytes).raw(std::string((512 - bytes.size() % 512) % 512, '\0'));
}

TarMaker& TarMaker::file(const std::string& name, const std::string& bytes) {
  return header(name, '0', bytes.size()).content(bytes);
}

TarMaker& TarMaker::symlink(const std::string& name, const std::string& target) {
  return header(name, '2', 0, target);
}

TarMaker& TarMaker::hard_link(const std::string& name, const std::string& target) {
  return header(name, '1', 0, target);
}

TarMaker& TarMaker::pax(const std::map<std::string, std::string>& records, char type) {
  std::string all;
  for (const auto& [key, value] : records) {
    const size_t rest = key.size() + value.size() + 3;
    size_t length = rest + 1;
    while (rest + std::to_string(length).size() != length)
      length = rest + std::to_string(length).size();
    all += std::to_string(length) + " " + key + "=" + value + "\n";
  }
  return header("pax", type, all.size()).content(all);
}

TarMaker& TarMaker::gnu_long(char type, const std::string& name) {
  return header("././@LongLink", type, name.size() + 1).content(name + std::string(1, '\0'));
}

TarMaker& TarMaker::raw(const std::string& bytes) {
  bytes_ += bytes;
  return *this;
}

std::string digest_of(const std::string& bytes) {
  return "sha256:" + crypto::sha256(base::as_bytes(bytes)).hex();
}

std::string blob_of(const std::string& bytes) {
  return "blobs/sha256/" + crypto::sha256(base::as_bytes(bytes)).hex();
}

std::string docker_archive(const std::vector<std::string>& layers, const std::string& tag) {
  TarMaker tar;
  nlohmann::json names = nlohmann::json::array(), diff_ids = nlohmann::json::array();
  std::map<std::string, std::string> first;  // content -> member
  std::string id;
  for (const std::string& layer : layers) {
    id = digest_of(id + layer + tag).substr(7);
    const std::string name = id + "/layer.tar";
    tar.directory(id + "/")
        .file(id + "/VERSION", "1.0")
        .file(id + "/json", "{\"id\":\"" + id + "\"}");
    if (const auto found = first.find(layer); found != first.end())
      tar.symlink(name, "../" + found->second);
    else
      tar.file(name, layer);
    first.emplace(layer, name);
    names.push_back(name);
    diff_ids.push_back(digest_of(layer));
  }
  const std::string config =
      nlohmann::json{{"architecture", "amd64"},
                     {"os", "linux"},
                     {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}}}
          .dump();
  const std::string config_name = digest_of(config).substr(7) + ".json";
  tar.file(config_name, config);
  tar.file("manifest.json", nlohmann::json::array(
                                {{{"Config", config_name}, {"RepoTags", {tag}}, {"Layers", names}}})
                                .dump());
  tar.file("repositories", "{}\n");
  return tar.end().bytes();
}

std::string oci_layout(const std::vector<std::string>& layers, const std::string& tag,
                       bool with_manifest) {
  nlohmann::json parts = nlohmann::json::array(), names = nlohmann::json::array(),
                 diff_ids = nlohmann::json::array();
  std::map<std::string, std::string> blobs;  // sorted by name, as engines do
  for (const std::string& layer : layers) {
    parts.push_back(descriptor("application/vnd.oci.image.layer.v1.tar", layer));
    names.push_back(blob_of(layer));
    diff_ids.push_back(digest_of(layer));
    blobs[blob_of(layer)] = layer;
  }
  const std::string config =
      nlohmann::json{{"architecture", "amd64"},
                     {"os", "linux"},
                     {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}}}
          .dump();
  const std::string manifest = nlohmann::json{
      {"schemaVersion", 2},
      {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
      {"config", descriptor("application/vnd.oci.image.config.v1+json", config)},
      {"layers", parts}}.dump();
  blobs[blob_of(config)] = config;
  blobs[blob_of(manifest)] = manifest;
  nlohmann::json top = descriptor("application/vnd.oci.image.manifest.v1+json", manifest);
  top["annotations"] = {{"io.containerd.image.name", tag}};

  TarMaker tar;
  tar.directory("blobs/").directory("blobs/sha256/");
  for (const auto& [name, bytes] : blobs) tar.file(name, bytes);
  tar.file("index.json", nlohmann::json{{"schemaVersion", 2}, {"manifests", {top}}}.dump());
  if (with_manifest)
    tar.file("manifest.json",
             nlohmann::json::array(
                 {{{"Config", blob_of(config)}, {"RepoTags", {tag}}, {"Layers", names}}})
                 .dump());
  tar.file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
  return tar.end().bytes();
}

std::function<base::Bytes()> in_pieces(const std::string& bytes, size_t piece) {
  return [&bytes, piece, at = size_t{0}]() mutable {
    const std::string_view part = std::string_view(bytes).substr(at, piece);
    at += part.size();
    return base::to_bytes(base::as_bytes(part));
  };
}

}  // namespace davit::test
