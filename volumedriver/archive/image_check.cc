#include "archive/image_check.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "archive/image_members.h"
#include "base/errors.h"

namespace davit::archive {

namespace {

using nlohmann::json;

constexpr std::string_view kDockerManifest = "manifest.json", kIndex = "index.json";
constexpr std::string_view kBlobs = "blobs/";
// Of all documents together; an image has some hundred.
constexpr size_t kMaxNames = 1'000'000;
// An index in an index, and a manifest in that, is the most that there is.
constexpr int kMaxDepth = 4;

[[noreturn]] void refuse(const std::string& why) {
  throw base::Corrupt("the image could not be loaded again: " + why);
}

// Nothing where it is no JSON. Documents that nest without end cost no stack.
std::optional<json> parse(base::ByteView content) {
  json value = json::parse(content.begin(), content.end(), nullptr, false);
  if (value.is_discarded()) return std::nullopt;
  return value;
}

std::string string_at(const json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

const json* array_at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? &*found : nullptr;
}

// "sha256:ab…" is the member "blobs/sha256/ab…".
std::string blob_name(const std::string& digest) {
  std::string name = std::string(kBlobs) + digest;
  std::replace(name.begin(), name.end(), ':', '/');
  return name;
}

}  // namespace

bool ImageCheck::wants(std::string_view name, uint64_t size_bytes, uint8_t begin) {
  const bool is_blob = name.substr(0, kBlobs.size()) == kBlobs;
  if (name != kDockerManifest && name != kIndex)
    return is_blob && begin == '{' && size_bytes <= kMaxDocument;
  if (size_bytes > kMaxDocument)
    refuse(std::string(name) + " has " + std::to_string(size_bytes) + " bytes");
  return true;
}

void ImageCheck::count(size_t names) {
  names_ += names;
  if (names_ > kMaxNames) refuse("its manifests name more than any image has");
}

std::optional<ImageCheck::Document> ImageCheck::parse_document(base::ByteView content) {
  const auto value = parse(content);
  if (!value || !value->is_object()) return std::nullopt;
  Document document;
  const auto add = [&](const json& part) {
    Descriptor descriptor;
    descriptor.digest = string_at(part, "digest");
    if (part.is_object()) {
      const auto size = part.find("size");
      if (size != part.end() && size->is_number_unsigned())
        descriptor.size_bytes = size->get<uint64_t>();
      if (const auto notes = part.find("annotations"); notes != part.end())
        descriptor.is_image = string_at(*notes, "vnd.docker.reference.type").empty();
    }
    document.parts.push_back(std::move(descriptor));
  };
  const json* const manifests = array_at(*value, "manifests");
  const json* const layers = array_at(*value, "layers");
  const auto config = value->find("config");
  if (manifests) {
    document.is_index = true;
    for (const json& part : *manifests) add(part);
  } else if (layers && config != value->end() && config->is_object() &&
             config->contains("digest")) {
    add(*config);
    for (const json& part : *layers) add(part);
  } else {
    return std::nullopt;
  }
  return document;
}

void ImageCheck::add(const std::string& name, base::ByteView content) {
  if (name == kIndex) {
    index_ = parse_document(content);
    if (!index_ || !index_->is_index) refuse("its index.json is none");
    count(index_->parts.size());
    return;
  }
  if (name != kDockerManifest) {
    if (auto document = parse_document(content)) {
      count(document->parts.size() + 1);
      documents_[name] = std::move(*document);
    }
    return;
  }
  const auto value = parse(content);
  if (!value || !value->is_array()) refuse("its manifest.json is none");
  docker_.emplace();
  for (const json& entry : *value) {
    DockerImage image;
    image.config = string_at(entry, "Config");
    if (image.config.empty()) refuse("its manifest.json names no configuration");
    if (const json* const layers = array_at(entry, "Layers")) {
      for (const json& layer : *layers) {
        if (!layer.is_string()) refuse("its manifest.json names a layer that is no string");
        image.layers.push_back(layer.get<std::string>());
      }
    }
    count(image.layers.size() + 1);
    docker_->push_back(std::move(image));
  }
}

void ImageCheck::verify_docker(const Frame& image) const {
  const auto check = [&](const std::string& name) {
    const Frame* const found = find_member(image, name);
    if (!found || found->node.type != repo::NodeType::file)
      refuse("its manifest.json names " + shown_name(name) + ", which is not in it");
  };
  for (const DockerImage& each : *docker_) {
    check(each.config);
    for (const std::string& layer : each.layers) check(layer);
  }
}

// Null where it is not there. Throws where it is another than what was meant.
const Frame* ImageCheck::find_blob(const Frame& image, const Descriptor& blob) const {
  const Frame* const found = find_member(image, blob_name(blob.digest));
  if (!found || found->node.type != repo::NodeType::file) return nullptr;
  if (blob.size_bytes && *blob.size_bytes != found->node.size)
    refuse("the blob " + shown_name(blob.digest) + " has " + std::to_string(found->node.size) +
           " bytes instead of " + std::to_string(*blob.size_bytes));
  return found;
}

// Whether `top` leads to an image of which all is there.
bool ImageCheck::is_whole(const Frame& image, const Descriptor& top, int depth) {
  const auto note_missing = [&](const Descriptor& blob) {
    if (missing_.empty()) missing_ = blob.digest;
    return false;
  };
  if (!find_blob(image, top)) return note_missing(top);
  if (const auto known = known_.find(top.digest); known != known_.end()) return known->second;
  if (depth > kMaxDepth) refuse("its indexes hold indexes without end");
  known_[top.digest] = false;  // for one that holds itself
  const auto found = documents_.find(blob_name(top.digest));
  if (found == documents_.end()) refuse("the blob " + shown_name(top.digest) + " is no manifest");
  const std::vector<Descriptor>& parts = found->second.parts;
  bool whole = false;
  if (found->second.is_index) {
    // All platforms are looked at: what is there must be right.
    for (const Descriptor& part : parts)
      if (part.is_image && is_whole(image, part, depth + 1)) whole = true;
  } else {
    whole = std::all_of(parts.begin(), parts.end(), [&](const Descriptor& part) {
      return find_blob(image, part) || note_missing(part);
    });
  }
  return known_[top.digest] = whole;
}

void ImageCheck::verify(const Frame& image) {
  if (!docker_ && !index_) refuse("it has neither a manifest.json nor an index.json");
  if (docker_) verify_docker(image);
  if (index_) {
    for (const Descriptor& top : index_->parts)
      if (top.is_image && !is_whole(image, top, 0))
        refuse("the blob " + shown_name(missing_) + " is not in it");
  }
  const bool has_image =
      (docker_ && !docker_->empty()) ||
      (index_ && std::any_of(index_->parts.begin(), index_->parts.end(),
                             [](const Descriptor& top) { return top.is_image; }));
  if (!has_image) refuse("it holds no image");
}

}  // namespace davit::archive
