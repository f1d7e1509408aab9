#include "control/messages.h"

#include <cmath>

#include "base/bytes.h"
#include "repo/tree.h"

namespace davit::control {

namespace {

const char* outcome_text(jobs::Outcome outcome) {
  switch (outcome) {
    case jobs::Outcome::ok:
      return "ok";
    case jobs::Outcome::partial:
      return "partial";
    case jobs::Outcome::failed:
      return "failed";
  }
  return "failed";
}

Message hex_list(const std::vector<base::Id>& ids) {
  Message list = Message::array();
  for (const base::Id& id : ids) list.push_back(id.hex());
  return list;
}

void put_time(Message& message, const char* field, const std::optional<base::Time>& time) {
  if (time) message[field] = base::format_utc(*time);
}

void put_text(Message& message, const char* field, const std::string& text) {
  if (!text.empty()) message[field] = text;
}

// Names in a volume are any bytes; JSON holds only UTF-8.
void put_bytes(Message& message, const std::string& field, const std::string& bytes) {
  message[field] = bytes;
  if (!repo::is_utf8(bytes)) message[field + "_base64"] = base::base64(base::as_bytes(bytes));
}

void put_summary(Message& message, const repo::SnapshotSummary& summary) {
  message["files_new"] = summary.files_new;
  message["files_changed"] = summary.files_changed;
  message["files_unmodified"] = summary.files_unmodified;
  message["dirs_new"] = summary.dirs_new;
  message["dirs_changed"] = summary.dirs_changed;
  message["dirs_unmodified"] = summary.dirs_unmodified;
  message["data_blobs"] = summary.data_blobs;
  message["tree_blobs"] = summary.tree_blobs;
  message["data_added"] = summary.data_added;
  message["data_added_packed"] = summary.data_added_packed;
  message["total_files_processed"] = summary.total_files_processed;
  message["total_bytes_processed"] = summary.total_bytes_processed;
}

void put_snapshot(Message& message, const jobs::SnapshotInfo& info) {
  const repo::Snapshot& snapshot = info.snapshot;
  message["id"] = info.id.hex();
  message["short_id"] = info.id.short_hex();
  message["time"] = repo::format(snapshot.time);
  message["volume"] = info.volume;
  put_text(message, "container", info.container);
  put_text(message, "point", info.point);
  message["hostname"] = snapshot.hostname;
  message["paths"] = snapshot.paths;
  message["partial"] = info.partial;
  message["tree"] = snapshot.tree.hex();
  if (snapshot.parent) message["parent"] = snapshot.parent->hex();
  if (snapshot.original) message["original"] = snapshot.original->hex();
  put_text(message, "username", snapshot.username);
  if (!snapshot.tags.empty()) message["tags"] = snapshot.tags;
  put_text(message, "program_version", snapshot.program_version);
  if (snapshot.summary) {
    Message summary;
    summary["backup_start"] = repo::format(snapshot.summary->backup_start);
    summary["backup_end"] = repo::format(snapshot.summary->backup_end);
    put_summary(summary, *snapshot.summary);
    message["summary"] = std::move(summary);
  }
}

Message forget_base(const jobs::ForgetGroup& group, const char* action) {
  Message message{{"message_type", "forget"}, {"action", action}};
  message["group"] = {{"volume", group.volume}, {"host", group.host}};
  if (!group.container.empty()) message["group"]["container"] = group.container;
  return message;
}

void put_last_backup(Message& message, const volumes::LastBackup& last) {
  Message backup = Message::object();
  put_time(backup, "attempted", last.attempted);
  put_time(backup, "succeeded", last.succeeded);
  put_text(backup, "snapshot_id", last.snapshot);
  put_text(backup, "consistency", last.consistency);
  put_text(backup, "error", last.error);
  if (last.succeeded) {
    backup["partial"] = last.partial;
    backup["files"] = last.files;
    backup["bytes"] = last.bytes;
  }
  message["last_backup"] = std::move(backup);
}

void put_running(Message& message, const std::optional<jobs::ProgressEvent>& running) {
  if (!running) return;
  message["running"] = status_message(*running);
  message["running"].erase("message_type");
}

// Those that came with a volume.
void put_images(Message& message, const jobs::VolumeStatus& status) {
  if (status.volume.images_owed) message["images_owed"] = true;
  for (const jobs::ImageStatus& each : status.images) {
    Message image{{"image", each.reference}, {"container", each.container}, {"state", each.state}};
    if (each.fraction && std::isfinite(*each.fraction)) image["percent_done"] = *each.fraction;
    put_text(image, "error", each.error);
    message["images"].push_back(std::move(image));
  }
}

void put_scrub(Message& message, const jobs::ScrubStatus& status) {
  if (status.period.count() == 0) return;  // off
  const auto& coverage = status.coverage;
  Message scrub{{"period_seconds", status.period.count()},
                {"packs", coverage.packs},
                {"packs_covered", coverage.covered},
                {"packs_never_read", coverage.never}};
  if (coverage.packs > 0) scrub["covered"] = coverage.ratio();
  put_time(scrub, "oldest", coverage.oldest);
  put_time(scrub, "last", status.last);
  put_time(scrub, "next", status.next);
  put_text(scrub, "error", status.last_error);
  message["scrub"] = std::move(scrub);
}

}  // namespace

Message status_message(const jobs::ProgressEvent& event) {
  Message message{{"message_type", "status"}};
  put_text(message, "volume", event.volume);
  message["phase"] = event.phase;
  if (event.fraction && std::isfinite(*event.fraction)) message["percent_done"] = *event.fraction;
  if (event.seconds_left) message["seconds_remaining"] = *event.seconds_left;
  message["files_done"] = event.files_done;
  message["bytes_done"] = event.bytes_done;
  if (event.files_total != 0) message["total_files"] = event.files_total;
  if (event.bytes_total != 0) message["total_bytes"] = event.bytes_total;
  if (event.errors != 0) message["error_count"] = event.errors;
  return message;
}

Message error_message(const Failure& failure) {
  return {{"message_type", "error"},
          {"message", failure.message},
          {"kind", failure.kind},
          {"code", failure.exit_code}};
}

Message exit_message(int exit_code) {
  return {{"message_type", "exit"}, {"exit_code", exit_code}};
}

Message backup_message(const jobs::BackupOutcome& outcome) {
  Message message{{"message_type", "summary"},
                  {"volume", outcome.volume},
                  {"outcome", outcome_text(outcome.outcome)}};
  put_text(message, "container", outcome.container);
  put_text(message, "point", outcome.point);
  put_text(message, "snapshot_id", outcome.snapshot);
  put_text(message, "error", outcome.error);
  put_text(message, "consistency", outcome.consistency);
  message["total_duration"] = outcome.seconds;
  put_summary(message, outcome.summary);
  message["unreadable"] = outcome.unreadable;
  message["changed_while_read"] = outcome.changed_while_read;
  message["problems"] = outcome.problems;
  return message;
}

Message restore_message(const jobs::RestoreOutcome& outcome) {
  Message message{
      {"message_type", "summary"}, {"volume", outcome.volume}, {"snapshot_id", outcome.snapshot}};
  put_text(message, "safety_snapshot_id", outcome.safety_snapshot);
  message["files_restored"] = outcome.files;
  message["bytes_restored"] = outcome.bytes;
  message["total_duration"] = outcome.seconds;
  message["problems"] = outcome.problems;
  return message;
}

Message restore_container_message(const jobs::RestoreContainerOutcome& outcome) {
  Message message{{"message_type", "summary"},
                  {"container", outcome.container},
                  {"saved_container", outcome.saved_name},
                  {"snapshot_id", outcome.snapshot},
                  {"point", outcome.point},
                  {"time", base::format_utc(outcome.time)},
                  {"image", outcome.image},
                  {"image_loaded", outcome.image_loaded}};
  put_text(message, "container_id", outcome.id);
  Message volumes = Message::array();
  for (const auto& volume : outcome.volumes) {
    Message one{{"saved_name", volume.saved_name}, {"action", volume.action}};
    put_text(one, "name", volume.name);
    put_text(one, "snapshot_id", volume.snapshot);
    put_text(one, "safety_snapshot_id", volume.safety_snapshot);
    volumes.push_back(std::move(one));
  }
  message["volumes"] = std::move(volumes);
  message["networks"] = outcome.networks;
  message["notes"] = outcome.notes;
  message["conflicts"] = outcome.conflicts.size();
  message["dry_run"] = outcome.dry_run;
  message["started"] = outcome.started;
  put_text(message, "start_error", outcome.start_error);
  message["total_duration"] = outcome.seconds;
  return message;
}

Message snapshot_message(const jobs::SnapshotInfo& info) {
  Message message{{"message_type", "snapshot"}};
  put_snapshot(message, info);
  return message;
}

Message point_message(const jobs::Point& point) {
  Message message{{"message_type", "point"},
                  {"id", point.id},
                  {"time", base::format_utc(point.time)},
                  {"hostname", point.host},
                  {"pieces", Message::array()}};
  for (const jobs::SnapshotInfo& piece : point.pieces) {
    Message part{{"snapshot_id", piece.id.hex()}, {"partial", piece.partial}};
    put_text(part, "volume", piece.volume);
    put_text(part, "container", piece.container);
    message["pieces"].push_back(std::move(part));
  }
  return message;
}

Message node_message(const jobs::ListedNode& node) {
  Message message{{"message_type", "node"}, {"type", node.type}};
  put_bytes(message, "path", node.path);
  message["uid"] = node.uid;
  message["gid"] = node.gid;
  message["mode"] = node.mode;
  message["size"] = node.size_bytes;
  message["mtime"] = base::format_utc(node.mtime);
  if (!node.linktarget.empty()) put_bytes(message, "linktarget", node.linktarget);
  return message;
}

Message volume_message(const jobs::VolumeStatus& status, bool removed) {
  const volumes::Volume& volume = status.volume;
  Message message{{"message_type", removed ? "removed_volume" : "volume"}};
  message["name"] = volume.name;
  message["uuid"] = volume.uuid;
  message["state"] = volumes::state_name(volume.state);
  message["created"] = base::format_utc(volume.created);
  message["options"] = volume.options;
  put_text(message, "source_snapshot", volume.source_snapshot);
  put_text(message, "error", volume.error);
  put_time(message, "removed", volume.removed_at);
  put_text(message, "schedule", status.schedule);
  put_text(message, "retention", status.retention);
  put_text(message, "tracking", status.tracking);
  put_time(message, "next_backup", status.next_backup);
  message["snapshots"] = status.snapshots;
  if (!status.damaged.empty()) message["damaged_snapshots"] = status.damaged;
  put_last_backup(message, volume.last_backup);
  put_running(message, status.running);
  put_images(message, status);
  return message;
}

Message container_message(const jobs::ContainerStatus& status) {
  Message message{{"message_type", "container"}, {"name", status.name}, {"state", status.state}};
  put_text(message, "id", status.id);
  put_text(message, "image", status.image);
  message["volumes"] = status.volumes;
  put_text(message, "schedule", status.schedule);
  put_text(message, "retention", status.retention);
  put_text(message, "error", status.problem);
  put_time(message, "next_backup", status.next);
  message["snapshots"] = status.snapshots;
  if (!status.damaged.empty()) message["damaged_snapshots"] = status.damaged;
  put_last_backup(message, status.last);
  put_running(message, status.running);
  return message;
}

Message daemon_message(const jobs::Status& status) {
  Message message{{"message_type", "daemon"},
                  {"version", status.version},
                  {"installation", status.installation},
                  {"host", status.host},
                  {"repository", status.repository},
                  {"repository_state", status.repository_state},
                  {"password_generated", status.password_generated}};
  put_time(message, "last_prune", status.last_prune);
  put_time(message, "next_prune", status.next_prune);
  put_text(message, "last_prune_error", status.last_prune_error);
  put_text(message, "engine_error", status.engine_error);
  if (!status.repairs.empty()) message["repairs"] = status.repairs;
  put_scrub(message, status.scrub);
  if (const auto& damage = status.damage) {
    message["damage"] = {{"found", base::format_utc(damage->found)},
                         {"by", damage->by},
                         {"errors", damage->errors},
                         {"messages", damage->messages},
                         {"volumes", damage->volumes},
                         {"containers", damage->containers}};
    for (const base::Id& id : damage->snapshots)
      message["damage"]["snapshots"].push_back(id.hex());
  }
  return message;
}

Message forget_message(const jobs::ForgetGroup& group, const jobs::ForgetGroup::Kept& kept) {
  Message message = forget_base(group, "keep");
  message["reasons"] = kept.reasons;
  put_snapshot(message, kept.snapshot);
  return message;
}

Message forget_message(const jobs::ForgetGroup& group, const jobs::SnapshotInfo& removed) {
  Message message = forget_base(group, "remove");
  put_snapshot(message, removed);
  return message;
}

Message prune_message(const upkeep::PrunePlan& plan, bool dry_run) {
  return {{"message_type", "summary"},
          {"dry_run", dry_run},
          {"blobs_used", plan.blobs_used},
          {"blobs_unused", plan.blobs_unused},
          {"blobs_duplicate", plan.blobs_duplicate},
          {"bytes_used", plan.bytes_used},
          {"bytes_unused", plan.bytes_unused},
          {"packs_total", plan.packs_total},
          {"packs_kept", plan.packs_kept},
          {"packs_repacked", plan.packs_repacked},
          {"packs_deleted", plan.packs_deleted},
          {"packs_unindexed", plan.packs_unindexed},
          {"bytes_repacked", plan.bytes_repacked},
          {"bytes_freed", plan.bytes_freed}};
}

Message check_message(const upkeep::CheckReport& report) {
  return {{"message_type", "summary"},
          {"ok", report.ok()},
          {"num_errors", report.errors.size()},
          {"num_repaired", report.repaired.size()},
          {"num_hints", report.hints.size()},
          {"damaged_snapshots", hex_list(report.damaged_snapshots)},
          {"damaged_packs", hex_list(report.damaged_packs)},
          {"snapshots", report.snapshots},
          {"trees", report.trees},
          {"blobs", report.blobs},
          {"packs", report.packs},
          {"packs_read", report.packs_read},
          {"bytes_read", report.bytes_read}};
}

Message mirror_message(const jobs::MirrorStatus& mirror) {
  Message message{{"message_type", "mirror"},
                  {"mirror", mirror.place},
                  {"append_only", mirror.append_only},
                  {"state", mirror.state}};
  put_time(message, "in_sync", mirror.in_sync);
  put_time(message, "away_since", mirror.away_since);
  message["behind_files"] = mirror.behind_files;
  message["behind_bytes"] = mirror.behind_bytes;
  put_text(message, "error", mirror.error);
  put_text(message, "note", mirror.note);
  return message;
}

Message lost_message(const upkeep::RepairReport::Lost& lost) {
  Message message{{"message_type", "lost"}, {"snapshot_id", lost.snapshot.hex()}};
  put_bytes(message, "path", lost.path);
  message["what"] = lost.what;
  return message;
}

Message mended_message(const upkeep::RepairReport::Mended& mended) {
  Message message{{"message_type", "mended"}, {"snapshot_id", mended.snapshot.hex()}};
  if (mended.sibling) message["new_snapshot_id"] = mended.sibling->hex();
  put_text(message, "why", mended.why);
  message["forgotten"] = mended.forgotten;
  return message;
}

Message repair_message(const upkeep::RepairReport& report, bool dry_run) {
  return {{"message_type", "summary"},
          {"dry_run", dry_run},
          {"whole", report.empty()},
          {"packs_read", report.packs_read},
          {"bytes_read", report.bytes_read},
          {"packs_salvaged", report.packs_salvaged},
          {"packs_indexed", report.packs_indexed},
          {"packs_missing", report.packs_missing},
          {"blobs_salvaged", report.blobs_salvaged},
          {"blobs_lost", report.blobs_lost},
          {"index_files_removed", report.index_files_removed},
          {"index_files_written", report.index_files_written},
          {"files_lost", report.lost.size()},
          {"errors_left", report.errors_left},
          {"snapshots", report.snapshots.size()}};
}

Message key_message(const jobs::KeyDetails& key) {
  return {{"message_type", "key"}, {"current", key.current}, {"id", key.id},
          {"userName", key.user},  {"hostName", key.host},   {"created", key.created}};
}

Message lock_message(const jobs::LockDetails& lock) {
  return {{"message_type", "lock"},
          {"id", lock.id},
          {"time", base::format_utc(lock.time)},
          {"exclusive", lock.exclusive},
          {"hostname", lock.host},
          {"username", lock.user},
          {"pid", lock.pid},
          {"stale", lock.stale},
          {"ours", lock.ours}};
}

Message setting_message(const jobs::SettingValue& setting) {
  return {{"message_type", "setting"},
          {"key", setting.key},
          {"value", setting.value},
          {"origin", setting.origin},
          {"description", setting.description}};
}

}  // namespace davit::control
