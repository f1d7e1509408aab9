#include "control/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <initializer_list>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

namespace davit::control {

namespace {

using Label = prometheus::ClientMetric::Label;
using Labels = std::vector<Label>;

// What is not known has no sample, and a family without samples is left out.
class Families {
 public:
  void begin(const char* name, const char* help) {
    families_.push_back({name, help, prometheus::MetricType::Gauge, {}});
  }
  void add(double value, Labels labels = {}) {
    prometheus::ClientMetric metric;
    metric.label = std::move(labels);
    metric.gauge.value = value;
    families_.back().metric.push_back(std::move(metric));
  }
  void add(const std::optional<base::Time>& time, Labels labels = {}) {
    if (time)
      add(std::chrono::duration<double>(time->time_since_epoch()).count(), std::move(labels));
  }
  std::string text() {
    std::erase_if(families_, [](const auto& family) { return family.metric.empty(); });
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families_);
    return out.str();
  }

 private:
  std::vector<prometheus::MetricFamily> families_;
};

// A volume's or a container's.
struct Saved {
  Labels labels;
  const volumes::LastBackup* last = nullptr;
  std::optional<base::Time> next;
  size_t snapshots = 0, damaged = 0;
  bool is_running = false;
};

std::vector<Saved> all_saved(const jobs::Status& status) {
  std::vector<Saved> all;
  for (const auto& each : status.volumes)
    all.push_back({{{"volume", each.volume.name}},
                   &each.volume.last_backup,
                   each.next_backup,
                   each.snapshots,
                   each.damaged.size(),
                   each.running.has_value()});
  for (const auto& each : status.containers)
    all.push_back({{{"container", each.name}},
                   &each.last,
                   each.next,
                   each.snapshots,
                   each.damaged.size(),
                   each.running.has_value()});
  return all;
}

void add_backups(Families& families, const std::vector<Saved>& all, bool snapshots_known) {
  families.begin("davit_backup_last_successful_timestamp", "When it was saved last, in seconds");
  for (const Saved& each : all) families.add(each.last->succeeded, each.labels);
  families.begin("davit_backup_last_attempt_timestamp", "When it was tried last, in seconds");
  for (const Saved& each : all) families.add(each.last->attempted, each.labels);
  families.begin("davit_backup_last_status",
                 "Whether the last backup saved all: 1, else 0 (failed, or partial)");
  for (const Saved& each : all)
    if (each.last->attempted)
      families.add(each.last->error.empty() && !each.last->partial ? 1 : 0, each.labels);
  families.begin("davit_backup_last_size_bytes", "What the last snapshot holds");
  for (const Saved& each : all)
    if (each.last->succeeded) families.add(static_cast<double>(each.last->bytes), each.labels);
  families.begin("davit_backup_last_files", "How many files the last snapshot holds");
  for (const Saved& each : all)
    if (each.last->succeeded) families.add(static_cast<double>(each.last->files), each.labels);
  families.begin("davit_backup_next_timestamp", "When it is to be saved next, in seconds");
  for (const Saved& each : all) families.add(each.next, each.labels);
  families.begin("davit_backup_running", "Whether something is at work on it");
  for (const Saved& each : all) families.add(each.is_running ? 1 : 0, each.labels);
  if (!snapshots_known) return;
  families.begin("davit_snapshots", "How many snapshots of it there are");
  for (const Saved& each : all) families.add(static_cast<double>(each.snapshots), each.labels);
  families.begin("davit_damaged_snapshots",
                 "How many of them cannot be restored as they were saved");
  for (const Saved& each : all) families.add(static_cast<double>(each.damaged), each.labels);
}

void add_coverage(Families& families, const upkeep::ReadBook::Coverage& coverage) {
  families.begin("davit_scrub_covered_ratio",
                 "The part of all packs that was read and found whole within the period");
  families.add(coverage.ratio());
  families.begin("davit_scrub_oldest_timestamp",
                 "When the pack was read whose reading is the oldest, in seconds");
  families.add(coverage.oldest);
  families.begin("davit_scrub_never_read_packs", "How many packs were not yet read");
  families.add(static_cast<double>(coverage.never));
}

void add_repository(Families& families, const jobs::Status& status) {
  families.begin("davit_repository_up", "Whether the repository can be read");
  families.add(status.repository_state == "ok" ? 1 : 0);
  families.begin("davit_check_errors", "What the last check or scrub found wrong");
  // A repository that was never open here may have anything.
  if (status.damage)
    families.add(static_cast<double>(status.damage->errors));
  else if (status.snapshots_known)
    families.add(0);
  families.begin("davit_prune_last_successful_timestamp",
                 "When the space of forgotten snapshots was freed last, in seconds");
  families.add(status.last_prune);
  families.begin("davit_prune_last_status", "Whether the last prune went well");
  if (status.last_prune || !status.last_prune_error.empty())
    families.add(status.last_prune_error.empty() ? 1 : 0);
  const auto& scrub = status.scrub;
  if (scrub.period.count() == 0) return;
  if (scrub.coverage.packs > 0) add_coverage(families, scrub.coverage);
  families.begin("davit_scrub_period_seconds", "Within which all packs are to be read");
  families.add(static_cast<double>(scrub.period.count()));
  families.begin("davit_scrub_last_successful_timestamp", "When it ran last, in seconds");
  families.add(scrub.last);
  families.begin("davit_scrub_last_status", "Whether the last scrub came to its end");
  if (scrub.last || !scrub.last_error.empty()) families.add(scrub.last_error.empty() ? 1 : 0);
}

}  // namespace

std::string metrics_text(const jobs::Status& status) {
  Families families;
  families.begin("davit_build_info", "Always 1; what runs, and where, in the labels");
  families.add(1, {{"version", status.version}, {"host", status.host}});
  add_repository(families, status);
  families.begin("davit_volumes", "How many volumes there are");
  families.add(static_cast<double>(status.volumes.size()));
  families.begin("davit_removed_volumes_waiting",
                 "How many removed volumes wait for their last backup");
  families.add(static_cast<double>(status.removed.size()));
  add_backups(families, all_saved(status), status.snapshots_known);
  return families.text();
}

}  // namespace davit::control
