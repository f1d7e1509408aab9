#include "volumes/record.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "volumes/name.h"

namespace davit::volumes {

namespace {

using nlohmann::json;

constexpr int kVersion = 1;
constexpr State kStates[] = {State::creating, State::restoring, State::ready, State::failed,
                             State::removed};

void put_time(json& to, const char* key, const std::optional<base::Time>& time) {
  if (time) to[key] = base::format_utc(*time);
}
void put_text(json& to, const char* key, const std::string& text) {
  if (!text.empty()) to[key] = text;
}

// The member, which must be of the type that `T` is when it is there.
template <typename T>
T member(const json& object, const char* key, T absent = {}) {
  const auto found = object.find(key);
  return found == object.end() ? absent : found->get<T>();
}
std::optional<base::Time> member_time(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  return base::parse_rfc3339(found->get_ref<const std::string&>());
}

json format_image(const ImageLoad& image) {
  json formatted = {{"reference", image.reference},
                    {"container", image.container},
                    {"snapshot", image.snapshot},
                    {"state", state_name(image.state)}};
  put_text(formatted, "error", image.error);
  return formatted;
}
ImageLoad parse_image(const json& formatted) {
  ImageLoad image;
  image.reference = formatted.at("reference").get<std::string>();
  image.container = formatted.at("container").get<std::string>();
  image.snapshot = formatted.at("snapshot").get<std::string>();
  image.error = member<std::string>(formatted, "error");
  const auto& name = formatted.at("state").get_ref<const std::string&>();
  for (const auto state :
       {ImageLoad::State::pending, ImageLoad::State::loaded, ImageLoad::State::failed})
    if (name == state_name(state)) {
      image.state = state;
      return image;
    }
  throw base::Corrupt("the state of an image is '" + name + "'");
}

State parse_state(const std::string& name) {
  for (const State state : kStates)
    if (name == state_name(state)) return state;
  throw base::Corrupt("its state is '" + name + "'");
}

}  // namespace

const char* state_name(State state) {
  switch (state) {
    case State::creating:
      return "creating";
    case State::restoring:
      return "restoring";
    case State::ready:
      return "ready";
    case State::failed:
      return "failed";
    case State::removed:
      return "removed";
  }
  return "unknown";
}

const char* state_name(ImageLoad::State state) {
  switch (state) {
    case ImageLoad::State::pending:
      return "pending";
    case ImageLoad::State::loaded:
      return "loaded";
    case ImageLoad::State::failed:
      return "failed";
  }
  return "unknown";
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return true;
}

std::string format_record(const Volume& volume) {
  json record = {{"version", kVersion},       {"uuid", volume.uuid},
                 {"name", volume.name},       {"state", state_name(volume.state)},
                 {"requested", volume.requested},
                 {"options", volume.options}, {"created", base::format_utc(volume.created)},
                 {"device", volume.device}};
  put_text(record, "source_snapshot", volume.source_snapshot);
  put_text(record, "source_path", volume.source_path);
  put_text(record, "waits_for", volume.waits_for);
  put_text(record, "error", volume.error);
  put_time(record, "removed_at", volume.removed_at);
  const LastBackup& last = volume.last_backup;
  if (last.attempted || last.succeeded) {
    json backup = {{"files", last.files}, {"bytes", last.bytes}, {"partial", last.partial}};
    put_time(backup, "attempted", last.attempted);
    put_time(backup, "succeeded", last.succeeded);
    put_text(backup, "snapshot", last.snapshot);
    put_text(backup, "consistency", last.consistency);
    put_text(backup, "error", last.error);
    record["last_backup"] = std::move(backup);
  }
  if (volume.images_owed) record["images_owed"] = true;
  for (const ImageLoad& image : volume.images) record["images"].push_back(format_image(image));
  // Messages may quote file names of any bytes; options came in as JSON, so they are UTF-8.
  return record.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

Volume parse_record(base::ByteView bytes) try {
  const json record = json::parse(bytes.begin(), bytes.end());
  if (!record.is_object()) throw base::Corrupt("it is not an object");
  if (const int version = record.at("version").get<int>(); version != kVersion)
    throw base::Unsupported("it has version " + std::to_string(version) +
                            ", so a newer davit wrote it");
  Volume volume;
  volume.uuid = record.at("uuid").get<std::string>();
  volume.name = record.at("name").get<std::string>();
  if (!is_uuid(volume.uuid)) throw base::Corrupt("its uuid is none");
  if (!is_valid_name(volume.name)) throw base::Corrupt("its name is not valid");
  volume.state = parse_state(record.at("state").get<std::string>());
  volume.requested = member<OptionMap>(record, "requested");
  volume.options = record.at("options").get<OptionMap>();
  volume.created = base::parse_rfc3339(record.at("created").get_ref<const std::string&>());
  volume.device = record.at("device").get<uint64_t>();
  volume.source_snapshot = member<std::string>(record, "source_snapshot");
  volume.source_path = member<std::string>(record, "source_path");
  volume.waits_for = member<std::string>(record, "waits_for");
  volume.error = member<std::string>(record, "error");
  volume.removed_at = member_time(record, "removed_at");
  if (const auto backup = record.find("last_backup"); backup != record.end()) {
    LastBackup& last = volume.last_backup;
    last.attempted = member_time(*backup, "attempted");
    last.succeeded = member_time(*backup, "succeeded");
    last.snapshot = member<std::string>(*backup, "snapshot");
    last.consistency = member<std::string>(*backup, "consistency");
    last.error = member<std::string>(*backup, "error");
    last.files = member<uint64_t>(*backup, "files");
    last.bytes = member<uint64_t>(*backup, "bytes");
    last.partial = member<bool>(*backup, "partial");
  }
  volume.images_owed = member<bool>(record, "images_owed");
  if (const auto images = record.find("images"); images != record.end())
    for (const json& image : *images) volume.images.push_back(parse_image(image));
  return volume;
} catch (const json::exception& error) {
  throw base::Corrupt(error.what());
} catch (const base::UsageError& error) {  // a time that is none
  throw base::Corrupt(error.what());
}

}  // namespace davit::volumes
