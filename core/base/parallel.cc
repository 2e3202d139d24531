// SPDX-License-Identifier: MIT
#include "core/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "core/base/error.h"

namespace pkgfs {
namespace {

bool is_interruption(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error.code() == ErrorCode::kInterrupted;
  } catch (...) {
    return false;
  }
}

}  // namespace

void for_each_in_parallel(std::size_t count, std::size_t threads, const CancelFlag& outer,
                          const std::function<void(std::size_t, const CancelFlag&)>& work) {
  CancelFlag cancel(&outer);
  std::vector<std::exception_ptr> failures(count);
  std::atomic<std::size_t> next = 0;
  const auto serve = [&] {
    const CancelScope scope(cancel);
    for (std::size_t i = next++; i < count && !cancel.is_cancelled(); i = next++) {
      try {
        work(i, cancel);
      } catch (const Error& error) {
        failures[i] = std::current_exception();
        error.code() == ErrorCode::kFull ? cancel.cancel_for_room() : cancel.cancel();
      } catch (...) {
        failures[i] = std::current_exception();
        cancel.cancel();
      }
    }
  };
  {
    std::vector<std::jthread> crew;
    try {
      for (std::size_t i = 1; i < std::min(threads, count); ++i) {
        crew.emplace_back(serve);
      }
    } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): those that were started must do
    }
    serve();
  }
  std::exception_ptr interruption;
  for (const std::exception_ptr& failure : failures) {
    if (!failure) {
      continue;
    }
    if (!is_interruption(failure)) {
      std::rethrow_exception(failure);
    }
    interruption = failure;
  }
  if (interruption) {
    std::rethrow_exception(interruption);
  }
  if (outer.is_cancelled()) {
    throw Error(ErrorCode::kInterrupted, "interrupted");
  }
}

}  // namespace pkgfs
