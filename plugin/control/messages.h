// The daemon's answers as JSON: field names are restic's wherever restic has one. Times are RFC
// 3339, sizes bytes, IDs hex. Pure functions.
#pragma once

#include "control/failure.h"
#include "control/output.h"
#include "jobs/operations.h"
#include "jobs/points.h"

namespace davit::control {

Message status_message(const jobs::ProgressEvent& event);
Message error_message(const Failure& failure);
Message exit_message(int exit_code);

Message backup_message(const jobs::BackupOutcome& outcome);
Message restore_message(const jobs::RestoreOutcome& outcome);
// Its conflicts are messages of their own.
Message restore_container_message(const jobs::RestoreContainerOutcome& outcome);
// restic's object of `snapshots --json`, with message_type, volume or container, point and
// partial.
Message snapshot_message(const jobs::SnapshotInfo& info);
// A point with its snapshots, volumes first.
Message point_message(const jobs::Point& point);
// A path that is not UTF-8 comes a second time as path_base64 (and so linktarget), whole.
Message node_message(const jobs::ListedNode& node);
Message volume_message(const jobs::VolumeStatus& volume, bool removed);
Message container_message(const jobs::ContainerStatus& status);
Message daemon_message(const jobs::Status& status);
Message forget_message(const jobs::ForgetGroup& group, const jobs::ForgetGroup::Kept& kept);
Message forget_message(const jobs::ForgetGroup& group, const jobs::SnapshotInfo& removed);
Message prune_message(const upkeep::PrunePlan& plan, bool dry_run);
Message check_message(const upkeep::CheckReport& report);
Message mirror_message(const jobs::MirrorStatus& mirror);
Message lost_message(const upkeep::RepairReport::Lost& lost);
Message mended_message(const upkeep::RepairReport::Mended& mended);
Message repair_message(const upkeep::RepairReport& report, bool dry_run);
Message key_message(const jobs::KeyDetails& key);
Message lock_message(const jobs::LockDetails& lock);
Message setting_message(const jobs::SettingValue& setting);

}  // namespace davit::control
