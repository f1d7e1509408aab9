#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "engine/answers.h"
#include "engine/docker_engine.h"

namespace davit::engine {

using base::IoError;
using nlohmann::json;

namespace {

// A word of a Dockerfile's LABEL, in which nothing is expanded.
std::string quoted(const std::string& text) {
  std::string word = "\"";
  for (const char c : text) {
    if (c == '\n' || c == '\r')
      throw base::UsageError("a label with a line's end cannot be put on an image");
    if (c == '"' || c == '\\' || c == '$') word += '\\';
    word += c;
  }
  return word + '"';
}

bool is_small(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*
bool is_component(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    while (at < text.size() && is_small(text[at])) ++at;
    if (at == begin || at == text.size()) return at > begin;
    const size_t mark = at;
    while (at < text.size() && !is_small(text[at])) ++at;
    const std::string_view between = text.substr(mark, at - mark);
    if (between != "." && between != "_" && between != "__" &&
        between.find_first_not_of('-') != between.npos)
      return false;
  }
  return false;
}

bool is_tag_character(char c) {
  return is_small(c) || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '-';
}

// An engine may find out only when the image is made and has no name. The first component may be a
// registry, about which it is left to the engine.
void check_reference(const std::string& repository, const std::string& tag) {
  bool good = !repository.empty() && repository.size() <= 255 && !tag.empty() &&
              tag.size() <= 128 && tag.front() != '.' && tag.front() != '-' &&
              std::all_of(tag.begin(), tag.end(), is_tag_character);
  size_t begin = 0;
  if (const size_t slash = repository.find('/'); slash != repository.npos) {
    const std::string first = repository.substr(0, slash);
    if (first == "localhost" || first.find_first_of(".:") != first.npos) begin = slash + 1;
  }
  while (good && begin <= repository.size()) {
    const size_t end = std::min(repository.find('/', begin), repository.size());
    good = is_component(std::string_view(repository).substr(begin, end - begin));
    begin = end + 1;
  }
  if (!good) throw base::UsageError("'" + repository + ":" + tag + "' is no name of an image");
}

std::string commit_path(const CommitRequest& request) {
  std::string path = "/commit?container=" + wire::percent_encode(request.container_id) +
                     "&repo=" + wire::percent_encode(request.repository) +
                     "&tag=" + wire::percent_encode(request.tag) +
                     "&pause=" + (request.pause ? "1" : "0") +
                     "&comment=" + wire::percent_encode(request.comment);
  for (const auto& [key, value] : request.labels)
    path += "&changes=" + wire::percent_encode("LABEL " + quoted(key) + "=" + quoted(value));
  return path;
}

// Names the image, and how far the stream came.
[[noreturn]] void rethrow(const IoError& error, const std::string& what) {
  if (dynamic_cast<const NoAnswer*>(&error) != nullptr)
    throw NoAnswer(what + ": " + error.what(), error.number(), error.transient());
  throw IoError(what + ": " + error.what(), error.number(), error.transient());
}

}  // namespace

std::string DockerEngine::commit(const CommitRequest& request, std::stop_token stop) {
  check_reference(request.repository, request.tag);
  const Call call{.method = "POST",
                  .path = commit_path(request),
                  .body = "{}",  // Podman cannot do without
                  .deadlines = silence(),
                  .stop = std::move(stop),
                  .once = true};
  try {
    return image_id(read_id(channel_.call(call).body));
  } catch (const IoError& error) {
    rethrow(error, "committing container " + request.container_id);
  }
}

void DockerEngine::save_image(const std::string& reference,
                              const std::function<void(base::ByteView)>& sink,
                              std::stop_token stop) {
  TarEnd end;
  bool is_sinks = false;
  const wire::BodySink checked = [&](base::ByteView part) {
    end.add(part);
    is_sinks = true;  // what it throws passes as it is
    sink(part);
    is_sinks = false;
  };
  try {
    channel_.call({.path = "/images/" + path_of(reference) + "/get",
                   .deadlines = silence(),
                   .stop = std::move(stop),
                   .sink = &checked});
    end.check();
  } catch (const IoError& error) {
    if (is_sinks || end.size_bytes() == 0) throw;
    rethrow(error, "the engine's stream of the image " + reference + " broke off after " +
                       base::human_size(end.size_bytes()));
  }
}

std::vector<std::string> DockerEngine::load_image(const wire::BodySource& tar,
                                                  std::stop_token stop) {
  LoadAnswer answer;
  bool is_sources = false;
  uint64_t sent_bytes = 0;
  wire::BodySource counted = tar;
  counted.read = [&](std::span<uint8_t> out) {
    is_sources = true;
    const size_t count = tar.read(out);
    is_sources = false;
    sent_bytes += count;
    return count;
  };
  const wire::BodySink sink = [&](base::ByteView part) { answer.add(part); };
  try {
    channel_.call({.method = "POST",
                   .path = "/images/load?quiet=0",
                   .deadlines = silence(),
                   .stop = std::move(stop),
                   .upload = &counted,
                   .sink = &sink});
    return answer.finish();
  } catch (const IoError& error) {
    if (is_sources || sent_bytes == 0) throw;
    rethrow(error, "loading an image, after " + base::human_size(sent_bytes) + " were sent");
  }
}

std::optional<Image> DockerEngine::find_image(const std::string& reference_or_id) {
  const auto body = find("/images/" + path_of(reference_or_id) + "/json");
  return body ? std::optional(read_image(*body)) : std::nullopt;
}

std::vector<Image> DockerEngine::list_images(const Labels& labels, bool dangling_only) {
  json filters = json::object();
  for (const auto& [key, value] : labels)
    filters["label"].push_back(value.empty() ? key : key + "=" + value);
  if (dangling_only) filters["dangling"] = {"true"};
  return read_images(get("/images/json?filters=" + query_of(filters)));
}

void DockerEngine::remove_image(const std::string& reference_or_id) {
  remove("/images/" + path_of(reference_or_id) + "?noprune=1&force=0");
}

void DockerEngine::tag_image(const std::string& reference_or_id, const std::string& repository,
                             const std::string& tag) {
  post("/images/" + path_of(reference_or_id) + "/tag?repo=" + wire::percent_encode(repository) +
       "&tag=" + wire::percent_encode(tag));
}

}  // namespace davit::engine
