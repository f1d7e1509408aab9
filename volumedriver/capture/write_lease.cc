#include "capture/write_lease.h"

#include <fcntl.h>

namespace davit::capture {

bool may_be_written(int fd) {
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) != 0) return true;
  ::fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}

}  // namespace davit::capture
