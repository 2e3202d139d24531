// SPDX-License-Identifier: MIT
#include "fuse/answering.h"

namespace pkgfs::fuse {

Answering::Answering(const SharedState& state) : state_(state) {
  for (std::size_t i = 0; i < SharedState::kThreads; ++i) {
    // Sequentially consistent, as the thread's own change: either this sees the request, or the request sees what the
    // caller has changed before.
    if (const std::uint32_t step = state_.entry(i).step.load(); step % 2 == 1) {
      steps_.emplace_back(i, step);
    }
  }
}

bool Answering::have_ended() {
  std::erase_if(steps_, [this](const auto& each) { return state_.entry(each.first).step.load() != each.second; });
  return steps_.empty();
}

}  // namespace pkgfs::fuse
