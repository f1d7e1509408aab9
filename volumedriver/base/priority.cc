#include "base/priority.h"

#include <linux/ioprio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace davit::base {

void lower_priority() {
  constexpr int kNice = 10;
  const auto thread = static_cast<id_t>(::gettid());  // on Linux, both are of the thread
  if (::setpriority(PRIO_PROCESS, thread, kNice) != 0) spdlog::debug("nice {}: {}", kNice, std::strerror(errno));
  if (::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, thread, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)) != 0)
    spdlog::debug("the idle I/O class: {}", std::strerror(errno));
}

}  // namespace davit::base
