// Named places where the crash tests end the process. In production nothing is installed and a point costs
// one relaxed load.
#pragma once

#include <atomic>
#include <functional>

namespace davit::base {

using FaultHook = void (*)(const char* point);
inline std::atomic<FaultHook> fault_hook{nullptr};

inline void fault_point(const char* point) {
  if (FaultHook hook = fault_hook.load(std::memory_order_relaxed)) hook(point);
}

}  // namespace davit::base
