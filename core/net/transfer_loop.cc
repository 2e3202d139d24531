// SPDX-License-Identifier: MIT
#include "core/net/transfer_loop.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <system_error>

#include "core/base/error.h"

namespace pkgfs {
namespace {

constexpr long kMaxConnections = 32;    // to one host
constexpr int kPollMilliseconds = 100;  // between two looks at the cancel flags and at the pace
constexpr int kIdleMilliseconds = 10'000;

/// Keeps `multi` and its connections until the process ends.
void leave_open(CURLM* multi) noexcept {
  static Mutex mutex;
  // Never destroyed: LeakSanitizer looks after the end of static objects.
  static auto* const all = new (std::nothrow) std::vector<CURLM*>;
  const MutexLock lock(mutex);
  try {
    if (all != nullptr) {
      all->push_back(multi);  // so that LeakSanitizer finds it
    }
  } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): only LeakSanitizer would miss it
  }
}

}  // namespace

TransferLoop::~TransferLoop() {
  end_thread();
  if (multi_ == nullptr) {
    return;
  }
  const MutexLock lock(mutex_);
  if (is_resting_) {
    // Another process may use the connections now. To close them would tell the servers that TLS ends.
    leave_open(multi_);
    return;
  }
  libcurl().multi_cleanup(multi_);
}

void TransferLoop::rest() noexcept {
  end_thread();
  const MutexLock lock(mutex_);
  is_resting_ = multi_ != nullptr;
}

void TransferLoop::end_thread() noexcept {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) {
    libcurl().multi_wakeup(multi_);
    thread_.join();
  }
  const MutexLock lock(mutex_);
  stopping_ = false;
}

CURLcode TransferLoop::run(Transfer& transfer) {
  Job job(transfer);
  MutexLock lock(mutex_);
  if (!thread_.joinable()) {
    if (multi_ == nullptr) {
      open_multi();
    }
    try {
      thread_ = std::thread([this] { serve(); });
    } catch (const std::system_error& error) {
      throw start_error(transfer.name() + " failed: no thread can be started for it", error.code().value());
    }
  }
  is_resting_ = false;
  incoming_.push_back(&job);
  libcurl().multi_wakeup(multi_);
  lock.wait(job.ended, [&] { return job.is_done; });
  if (job.was_cancelled) {
    throw Error(ErrorCode::kInterrupted, transfer.name() + ": interrupted");
  }
  return job.code;
}

void TransferLoop::open_multi() {
  multi_ = libcurl().multi_init();
  if (multi_ == nullptr) {
    throw std::bad_alloc();
  }
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg): libcurl's interface
  libcurl().multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, kMaxConnections);
  can_wake_ = libcurl().multi_wakeup(multi_) == CURLM_OK;
}

void TransferLoop::serve() {
  while (true) {
    {
      const MutexLock lock(mutex_);
      if (stopping_) {
        return;
      }
      for (Job* job : incoming_) {
        libcurl().multi_add_handle(multi_, job->transfer.easy());
        active_.push_back(job);
      }
      incoming_.clear();
    }
    int running = 0;
    const auto begun = Pace::Clock::now();
    libcurl().multi_perform(multi_, &running);
    // It waits for no server. So if it takes long, a sink waits for the local disk, and all servers for this thread.
    if (const auto now = Pace::Clock::now(); now - begun >= std::chrono::milliseconds(kPollMilliseconds)) {
      for (Job* job : active_) {
        job->transfer.was_held_up(begun, now);
      }
    }
    take_results();
    drop_cancelled_and_slow();
    libcurl().multi_poll(multi_, nullptr, 0, active_.empty() && can_wake_ ? kIdleMilliseconds : kPollMilliseconds,
                         nullptr);
  }
}

void TransferLoop::take_results() {
  int left = 0;
  while (const CURLMsg* message = libcurl().multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) {
      continue;
    }
    const CURLcode code = message->data.result;
    const auto job =
        std::ranges::find(active_, message->easy_handle, [](const Job* each) { return each->transfer.easy(); });
    end(**job, code, false);
  }
}

void TransferLoop::drop_cancelled_and_slow() {
  const std::vector<Job*> all = active_;
  const auto now = Pace::Clock::now();
  for (Job* job : all) {
    if (job->transfer.is_cancelled()) {
      end(*job, CURLE_ABORTED_BY_CALLBACK, true);
    } else if (job->transfer.is_overdue(now, all.size())) {
      end(*job, CURLE_OPERATION_TIMEDOUT, false);
    }
  }
}

void TransferLoop::end(Job& job, CURLcode code, bool cancelled) {
  libcurl().multi_remove_handle(multi_, job.transfer.easy());
  std::erase(active_, &job);
  const MutexLock lock(mutex_);
  job.code = code;
  job.was_cancelled = cancelled;
  job.is_done = true;
  job.ended.notify_one();  // with the lock held: `run` destroys the job as soon as it can
}

}  // namespace pkgfs
