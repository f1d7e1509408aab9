// Ctrl-C as something to wait for. One for the process, made by main.
#pragma once

#include "base/fd.h"

namespace davit::cli {

class Interrupt {
 public:
  // Takes SIGINT, SIGTERM and SIGHUP over: they no longer end the process, but make fd() readable.
  Interrupt();
  bool arrived() const;
  // Readable from then on.
  int fd() const { return signals_.get(); }

 private:
  base::Fd signals_;
};

}  // namespace davit::cli
