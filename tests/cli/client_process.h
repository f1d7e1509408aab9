// The real client as a process of its own: what it is told, what it says, and how it ends.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "base/fd.h"

namespace davit::test {

struct Ran {
  int exit_code = -1;  // 128 + signal when one ended it
  std::string out, err;
};

class ClientProcess {
 public:
  struct Options {
    std::map<std::string, std::string> environment;  // it gets no other, but TZ=XST-2
    std::string input;                               // stdin; not with a terminal
    bool on_terminal = false;  // all three are one: what it writes is in `out`
    std::string program = DAVIT_CLIENT;
    std::string name = "davit";  // argv[0]
  };
  ClientProcess(const std::vector<std::string>& arguments, Options options);
  ~ClientProcess();  // kills what still runs

  // Reads until stdout or stderr holds `text`; false at the deadline or its end.
  bool wait_for(const std::string& text);
  // As from a keyboard; only on a terminal.
  void type(const std::string& keys);
  void signal(int number);
  // Reads to the end and reaps it. exit_code stays -1 at the deadline.
  Ran finish();
  const std::string& out() const { return ran_.out; }

 private:
  bool read_more();  // false: everything ended, or the deadline
  pid_t pid_ = -1;
  base::Fd out_, err_;
  Ran ran_;
};

}  // namespace davit::test
