// The snapshots of each volume of a host, for an answer that an engine waits for: the store is asked on a thread aside, one at a time however many want to know, and who has waited long
// enough is told so. Any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/synchronized.h"

namespace davit::jobs {

class VolumeSnapshots {
 public:
  using Ids = std::map<std::string, std::vector<base::Id>>;  // by volume

  // `look` asks the store; `aside` runs it on another thread, which ends before this object.
  // Throws what `look` threw, and a transient IoError where it did not answer within `wait`.
  Ids get(const std::function<Ids()>& look,
             const std::function<void(std::function<void()>)>& aside,
             std::chrono::milliseconds wait);

 private:
  struct Answer;
  base::Synchronized<std::shared_ptr<Answer>> current_;
};

}  // namespace davit::jobs
