// SPDX-License-Identifier: MIT
#include "core/lazy/block_fetcher.h"

#include <algorithm>
#include <numeric>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/net/http_client.h"

namespace pkgfs {
namespace {

/// Threads beyond those that run jobs: they tell readers what came.
constexpr unsigned kDelivering = 2;
/// The longest sleep of a thread without work.
constexpr auto kLongestSleep = std::chrono::seconds(60);

thread_local bool is_fetching = false;

}  // namespace

std::shared_ptr<BlockFetcher> BlockFetcher::make(Options options) {
  const auto destroy = [](BlockFetcher* fetcher) {
    if (!is_own_thread()) {
      delete fetcher;
      return;
    }
    // A thread can't wait for its own end.
    try {
      std::thread([fetcher] { delete fetcher; }).detach();
    } catch (const std::system_error&) {
      log::debug("the threads that fetch packages stay until the process ends");
    }
  };
  return {new BlockFetcher(std::move(options)), destroy};
}

BlockFetcher::BlockFetcher(Options options) : options_(std::move(options)), room_(options_.free_room) {}

BlockFetcher::~BlockFetcher() { end_threads(); }

bool BlockFetcher::is_own_thread() { return is_fetching; }

void BlockFetcher::lend(std::shared_ptr<HttpClient> http) {
  const MutexLock lock(mutex_);
  if (http_ == nullptr) {
    http_ = std::move(http);
  }
}

void BlockFetcher::add(const std::weak_ptr<FetchClient>& client) {
  const MutexLock lock(mutex_);
  std::erase_if(clients_, [](const auto& known) { return known.expired(); });
  clients_.push_back(client);
}

void BlockFetcher::wake() noexcept {
  {
    const MutexLock lock(mutex_);
    ++wakes_;
    const std::size_t most = std::accumulate(options_.jobs.begin(), options_.jobs.end(), kDelivering);
    if (idle_ == 0 && threads_.size() < most && !resting_) {
      try {
        if (http_ == nullptr) {
          http_ = options_.make_client();
        }
        if (cancel_ == nullptr) {
          cancel_ = std::make_unique<CancelFlag>();
        }
        threads_.reserve(threads_.size() + 1);
        threads_.emplace_back([this] { work(); });
      } catch (const std::exception&) {
        if (threads_.empty() && !std::exchange(told_, true)) {
          log::warn("packages can't be fetched: {}", current_error());
        }
      }
    }
  }
  changed_.notify_one();
}

void BlockFetcher::rest() noexcept {
  end_threads();
  if (http_ != nullptr) {
    http_->rest();
  }
}

void BlockFetcher::end_threads() noexcept {
  std::vector<std::thread> threads;
  {
    const MutexLock lock(mutex_);
    resting_ = true;
    threads.swap(threads_);
    if (cancel_ != nullptr) {
      cancel_->cancel();
    }
  }
  changed_.notify_all();
  for (std::thread& thread : threads) {
    thread.join();
  }
  cancel_.reset();
  const MutexLock lock(mutex_);
  resting_ = false;
}

void BlockFetcher::begin_background() noexcept {
  {
    const MutexLock lock(mutex_);
    background_ = true;
  }
  wake();
}

void BlockFetcher::work() noexcept {
  is_fetching = true;
  MutexLock lock(mutex_);
  while (!resting_) {
    const std::uint64_t seen = wakes_;
    lock.unlock();
    Clock::time_point again = Clock::now() + kLongestSleep;
    bool worked = true;
    try {
      worked = work_once(again);
    } catch (const std::exception&) {
      log::warn("fetching packages: {}", current_error());
      worked = false;
      again = Clock::now() + std::chrono::seconds(1);  // there may be memory then
    }
    lock.lock();
    if (!worked && wakes_ == seen && !resting_) {
      ++idle_;
      (void)lock.wait_until(changed_, again);
      --idle_;
    }
  }
}

bool BlockFetcher::work_once(Clock::time_point& again) {
  const auto clients = living_clients();
  const Clock::time_point now = Clock::now();
  for (const auto& client : clients) {
    client->deliver(now, again);
  }
  return run_job(clients, Priority::kForeground, now, again) || run_job(clients, Priority::kExpected, now, again) ||
         run_job(clients, Priority::kBackground, now, again);
}

bool BlockFetcher::run_job(const std::vector<std::shared_ptr<FetchClient>>& clients, Priority priority,
                           Clock::time_point now, Clock::time_point& again) {
  const auto kind = static_cast<std::size_t>(priority);
  bool is_spare = false;
  {
    const MutexLock lock(mutex_);
    const bool is_background = priority == Priority::kBackground;
    const unsigned running = running_.at(kind);
    is_spare = is_background && running == options_.jobs.at(kind) && !has_spare_;
    if ((running >= options_.jobs.at(kind) && !is_spare) || (is_background && !background_)) {
      return false;
    }
    ++running_.at(kind);
  }
  FetchClient::Job job;
  try {
    for (std::size_t i = 0; i < clients.size() && !job; ++i) {
      job = clients[i]->next_job(priority, now, again);
    }
  } catch (const std::exception&) {
    log::warn("fetching packages: {}", current_error());
  }
  if (job) {
    wake();  // another thread looks whether there is more
    job(*http_, *cancel_);
  }
  const MutexLock lock(mutex_);
  --running_.at(kind);
  has_spare_ = has_spare_ || (job && is_spare);
  return static_cast<bool>(job);
}

std::vector<std::shared_ptr<FetchClient>> BlockFetcher::living_clients() {
  std::vector<std::shared_ptr<FetchClient>> living;
  const MutexLock lock(mutex_);
  living.reserve(clients_.size());
  ++turn_;
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    if (auto client = clients_[(i + turn_) % clients_.size()].lock()) {
      living.push_back(std::move(client));
    }
  }
  return living;
}

}  // namespace pkgfs
