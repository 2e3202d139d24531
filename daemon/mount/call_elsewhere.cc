// SPDX-License-Identifier: MIT
#include "daemon/mount/call_elsewhere.h"

#include <chrono>
#include <exception>
#include <future>
#include <memory>

#include "core/base/error.h"

namespace pkgfs {

void call_elsewhere(const std::function<void(std::function<void()>)>& post, const std::function<void()>& task,
                    const std::atomic<bool>& stopping) {
  struct Call {
    std::promise<void> done;
    std::atomic<bool> given_up{false};
  };
  constexpr auto kStep = std::chrono::milliseconds(50);
  const auto call = std::make_shared<Call>();
  std::future<void> done = call->done.get_future();
  post([call, task] {
    try {
      if (!call->given_up) {
        task();
      }
      call->done.set_value();
    } catch (...) {
      call->done.set_exception(std::current_exception());
    }
  });
  while (done.wait_for(kStep) != std::future_status::ready) {
    if (stopping) {
      call->given_up = true;
      throw Error(ErrorCode::kInterrupted, "the mount ends");
    }
  }
  done.get();
}

}  // namespace pkgfs
