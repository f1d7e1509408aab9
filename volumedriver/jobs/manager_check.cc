// What looks after the repository's health: check, the daily scrub, repair, and what they found.
#include <algorithm>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "jobs/either_stop.h"
#include "jobs/manager.h"
#include "jobs/points.h"
#include "jobs/references.h"
#include "jobs/watch.h"
#include "repo/keyring.h"

namespace davit::jobs {

using volumes::Volume;

// ---------------------------------------------------------------------------------------------------
// check

upkeep::CheckReport Manager::check(const CheckRequest& request, const Emit& emit,
                                   std::stop_token stop) {
  upkeep::CheckOptions options;
  options.read_data = request.read_data;
  if (!request.subset.empty()) {
    if (request.read_data)
      throw base::UsageError("a check reads all data, or a part of it: not both");
    options.choose = upkeep::DataSubset::parse(request.subset).by_chance();
  }
  auto report = std::make_shared<upkeep::CheckReport>();
  // Each has a report of its own, so none joins another.
  const auto job = queue_.submit(
      "check " + std::to_string(++checks_), kCheck, JobClass::upkeep,
      [this, report, options](Job& job) { *report = check_once(job, kCheck, options); });
  try {
    watch(job, "", emit, stop);
  } catch (const base::Cancelled&) {
    job->stop.request_stop();  // nobody else waits for it
    throw;
  }
  return *report;
}

upkeep::CheckReport Manager::check_once(Job& job, const std::string& by,
                                        upkeep::CheckOptions options) {
  upkeep::CheckReport report;
  std::vector<upkeep::PackSize> packs;
  std::vector<base::Id> whole;
  std::shared_ptr<repo::Repository> repository;
  options.progress = &job.progress;
  options.on_packs = [&](std::span<const upkeep::PackSize> all) {
    packs.assign(all.begin(), all.end());
  };
  options.on_whole_pack = [&](const base::Id& pack) { whole.push_back(pack); };
  // Also of a check that ends half-way: what it read it has read.
  const auto note_read = [&] {
    if (!repository || packs.empty()) return;
    try {
      auto book = upkeep::ReadBook::load(packs_read_path(), repository->id());
      const base::Time now = context_.clock.now();
      book.adopt(packs, now);
      for (const base::Id& pack : whole) book.note_read(pack, now);
      book.save(packs_read_path());
    } catch (const base::Error& error) {
      spdlog::warn("which packs were read cannot be noted: {}", error.what());
    }
  };
  // It may begin before the lock has settled, as it only reads until it finds something wrong.
  const auto work = [&](const RepositoryAccess::Hold& begun) {
    const EitherStop stop(job.stop.get_token(), begun.lost());
    // A mirror's answers say nothing of the primary.
    const auto mirrors = context_.repository.find_mirrors(*begun.repository());
    const std::shared_ptr<void> strict = mirrors ? mirrors->strictly() : nullptr;
    if (mirrors && mirrors->stands_in())
      throw base::IoError("the repository " + begun.repository()->store().describe() +
                              " is away, and a mirror is not checked in its place",
                          0, true);
    job.set_phase(by == kScrub ? "scrubbing" : "checking");
    job.progress.bytes_done = job.progress.bytes_total = 0;
    repository = begun.repository();
    packs.clear();
    whole.clear();
    options.stop = stop.get();
    options.before_heal = [&begun] { begun.check(); };
    const auto damage = damage_.find(repository->id());
    if (damage) options.also_read = damage->packs;
    try {
      report = upkeep::check(*repository, options);
    } catch (const base::Cancelled&) {
      if (!job.stop.stop_requested()) begun.check();  // that was why
      throw;
    }
  };
  try {
    const auto hold = context_.repository.work_under(
        job.stop.get_token(), [&job](const std::string& why) { job.set_phase(why); },
        RepositoryAccess::Use::read, work);
    hold->check();
  } catch (...) {
    note_read();
    throw;
  }
  note_read();
  note_found(*repository, by, report);
  if (report.away)
    throw base::IoError(
        std::string(report.away->what()) + "; the other packs were read, and " +
            (report.ok() ? "are whole" : "what is wrong with them is in `davit status`"),
        report.away->number(), true);
  return report;
}

void Manager::note_found(const repo::Repository& repository, const std::string& by,
                         const upkeep::CheckReport& report) {
  for (const auto& repaired : report.repaired)
    spdlog::warn("{} of the repository: {}", by, repaired);
  const bool was_damaged = damage_.find(repository.id()).has_value();
  std::optional<Damage> damage;
  if (!report.ok()) {
    damage.emplace();
    damage->repository = repository.id();
    damage->found = context_.clock.now();
    damage->by = by;
    damage->errors = report.errors.size();
    damage->messages = report.errors;
    damage->messages.resize(std::min(damage->messages.size(), DamageBook::kMaxMessages));
    damage->snapshots = report.damaged_snapshots;
    damage->packs = report.damaged_packs;
    std::sort(damage->snapshots.begin(), damage->snapshots.end());
    std::set<std::string> volumes, containers;
    try {
      for (const auto& file :
           repository.load_snapshots([](const base::Id&, const std::string&) {})) {
        if (file.snapshot.hostname != context_.host() || !damage->affects_snapshot(file.id))
          continue;
        if (const auto volume = volume_of(file.snapshot); !volume.empty()) volumes.insert(volume);
        if (const auto container = container_of(file.snapshot); !container.empty())
          containers.insert(container);
      }
    } catch (const base::Error& error) {  // the damage is told all the same
      spdlog::warn("whose snapshots are damaged is not known: {}", error.what());
    }
    damage->volumes.assign(volumes.begin(), volumes.end());
    damage->containers.assign(containers.begin(), containers.end());
  }
  if (damage) {
    damage_.note(*damage);
    spdlog::error("{}", damage->summary());
    ping(nullptr, PingEvent::failure, damage->summary());
    for (const Volume& volume : context_.registry.list())
      if (const auto own = volume.options.find("ping-url");
          own != volume.options.end() && damage->affects_volume(volume.name))
        pinger_.send({own->second, "volume " + volume.name, PingEvent::failure,
                      "snapshots of it are damaged: " + damage->summary()});
  } else if (was_damaged && !report.away) {
    damage_.clear(repository.id());
    spdlog::info("the repository is whole again");
    ping(nullptr, PingEvent::success, "the repository is whole again");
  }
}

std::optional<Damage> Manager::find_damage() const {
  const auto repository = context_.repository.find_open();
  // What was found last holds while the store is away, too.
  return repository ? damage_.find(repository->id()) : damage_.last();
}

// ---------------------------------------------------------------------------------------------------
// scrub

std::chrono::seconds Manager::scrub_period() const {
  const std::string text = context_.settings.get("DAVIT_SCRUB_PERIOD");
  return text == "off" ? std::chrono::seconds(0) : parse_duration(text);
}

void Manager::start_scheduled_scrub(std::function<void(bool)> done) {
  when_done(queue_.submit(kScrub, kScrub, JobClass::upkeep, [this](Job& job) { run_scrub(job); }),
            std::move(done));
}

void Manager::run_scrub(Job& job) {
  const auto period = scrub_period();
  if (period.count() == 0) return;  // it was switched off meanwhile
  UpkeepRun last = last_scrub();
  const base::Time now = context_.clock.now();
  // What was missed meanwhile is made up for; of what was before the first time nothing was.
  const auto since_last = last.succeeded ? now - *last.succeeded : std::chrono::nanoseconds(0);
  last.attempted = now;
  save_upkeep_run(scrub_path(), last);
  try {
    upkeep::CheckOptions options;
    options.choose = [&](std::span<const upkeep::PackSize> packs) {
      auto book = upkeep::ReadBook::load(packs_read_path(), context_.repository.get()->id());
      book.adopt(packs, now);
      return book.choose(packs, now, period, since_last);
    };
    const auto report = check_once(job, kScrub, std::move(options));
    last.succeeded = last.attempted;
    last.error.clear();
    save_upkeep_run(scrub_path(), last);
    spdlog::info("scrubbed the repository: {} of {} packs read, {}", report.packs_read,
                 report.packs, base::human_size(report.bytes_read));
  } catch (const base::Cancelled&) {
    throw;
  } catch (const std::exception& error) {
    last.error = error.what();
    save_upkeep_run(scrub_path(), last);
    spdlog::error("the scrub failed: {}", error.what());
    ping(nullptr, PingEvent::failure, std::string("the scrub failed: ") + error.what());
    throw;
  }
}

ScrubStatus Manager::scrub_status() {
  ScrubStatus status;
  status.period = scrub_period();
  const UpkeepRun last = last_scrub();
  status.last = last.succeeded;
  status.last_error = last.error;
  if (hooks_.next_scrub && status.period.count() > 0) status.next = hooks_.next_scrub();
  if (const auto repository = context_.repository.find_open())
    status.coverage = upkeep::ReadBook::load(packs_read_path(), repository->id())
                          .coverage(context_.clock.now(), status.period);
  return status;
}

// --------------------------------------------------------------------------------------------------
// repair

upkeep::RepairReport Manager::repair(const RepairRequest& request, const Emit& emit,
                                     std::stop_token stop) {
  auto report = std::make_shared<upkeep::RepairReport>();
  const auto job =
      queue_.submit("repair " + std::to_string(++checks_), kRepair, JobClass::upkeep,
                    [this, request, report](Job& job) { repair_once(job, request, *report); });
  watch(job, "", emit, stop);
  return *report;
}

void Manager::repair_once(Job& job, const RepairRequest& request, upkeep::RepairReport& report) {
  const auto repository = context_.repository.get();
  upkeep::RepairOptions options;
  options.read_data = request.read_data;
  options.forget = request.forget;
  options.dry_run = request.dry_run;
  options.progress = &job.progress;
  if (const auto damage = damage_.find(repository->id())) options.suspects = damage->packs;
  options.reserve = [this](uint64_t bytes) {
    return context_.upload.reserve(bytes, std::chrono::steady_clock::now());
  };
  options.add_key = [this](repo::Repository& damaged) {
    return repo::add_key(damaged.store(), damaged.key(), context_.repository.password(), "root",
                         context_.host());
  };
  const auto tell = [](const upkeep::RepairReport& report) {
    for (const auto& action : report.actions) spdlog::warn("repair of the repository: {}", action);
    for (const auto& lost : report.lost)
      spdlog::warn("repair of the repository: snapshot {}, {}: {}", lost.snapshot.short_hex(),
                   lost.path, lost.what);
  };
  bool is_told = request.dry_run;
  options.before_forget = [&](const upkeep::RepairReport& so_far) {
    if (!is_told) tell(so_far);
    is_told = true;
  };
  const auto work = [&](std::stop_token lost) {
    const EitherStop stop(job.stop.get_token(), std::move(lost));
    // One that was away a moment ago is asked again: what it has whole is not to be given up.
    if (const auto mirrors = context_.repository.find_mirrors(*repository))
      for (size_t number = 0; number < mirrors->mirrors(); ++number) {
        try {
          mirrors->compare(number);
        } catch (const base::Error& error) {
          spdlog::warn("repair: the mirror {} does not answer: {}",
                       mirrors->mirror(number).store->describe(), error.what());
        }
      }
    job.set_phase(request.dry_run ? "looking for damage" : "repairing");
    options.stop = stop.get();
    try {
      report = upkeep::repair(*repository, options);
    } catch (const base::Cancelled&) {
      if (job.stop.stop_requested()) throw;
      throw base::IoError("the lock on the repository was lost while it was repaired: repair again",
                          0, true);
    }
  };
  if (request.dry_run) {
    const auto hold = hold_for(job, RepositoryAccess::Use::read);
    if (hold->repository() != repository)
      throw base::Conflict("the settings name another repository meanwhile: repair again");
    work(hold->lost());
    return hold->check();
  }
  context_.repository.with_exclusive(
      job.stop.get_token(), repository,
      [&](std::stop_token lost) {
        work(std::move(lost));
        // What volumes remember of their last backup may count on what is lost: the next one looks
        // at all.
        if (report.empty()) return;
        const std::string caches = cache_directory(context_.data_directory, *repository);
        for (const std::string& file : base::list_directory(caches))
          if (file.ends_with(".scan")) base::remove_file(caches + "/" + file);
      },
      [&job](const std::string& why) { job.set_phase(why); });
  if (!is_told) tell(report);
  // What is left of the damage, or that nothing is.
  try {
    report.errors_left = check_once(job, kRepair, {}).errors.size();
  } catch (const base::Error& error) {  // what was done is told all the same
    report.actions.push_back(std::string("the check after it failed: ") + error.what());
    report.errors_left = 1;
  }
}

}  // namespace davit::jobs
