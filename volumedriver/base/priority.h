#pragma once

namespace davit::base {

// Gives way to everybody else from here on: the calling thread, and each thread that it starts.
// nice 10 (a tenth of a processor that others want whole) and the idle I/O class, which BFQ and
// mq-deadline heed. Where the system refuses, nothing changes. It cannot be taken back without
// privileges, so call it on a thread that ends with its work.
void lower_priority();

}  // namespace davit::base
