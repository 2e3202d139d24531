// SPDX-License-Identifier: MIT
// How LazySource asks a server.
#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "core/base/cancel.h"
#include "core/base/log.h"
#include "core/lazy/fetch_counted.h"
#include "core/lazy/lazy_source.h"
#include "core/net/http_client.h"
#include "core/net/range_request.h"

namespace pkgfs {
namespace {

constexpr std::uint64_t kBlockBytes = SparseFile::kBlock;
/// A request may take as long as so many bytes a second need, in addition to BlockFetcher::patience.
constexpr std::uint64_t kLeastRate = 32U << 10U;
/// What comes counts as present after so many blocks, and at the end of a request.
constexpr std::uint64_t kMarked = SparseFile::blocks_in(64U << 10U);
/// A server isn't asked for another URL more often than this.
constexpr auto kRenewalInterval = std::chrono::seconds(2);

/// Thrown while bytes come that can't be written. Not an exception that counts as one of the request.
struct Unwritable {
  Error error;
};

}  // namespace

LazySource::Fetched LazySource::fetch(BlockRange range, HttpClient& client, const CancelFlag& cancel) noexcept {
  const std::uint64_t end = std::min(range.end() * kBlockBytes, file_->size());
  std::uint64_t present = range.first;
  bool is_half = false;
  std::optional<Clock::time_point> begun;
  const auto keep = [&](const RemoteVersion&, std::uint64_t at, std::span<const std::byte> piece) {
    begun = begun.value_or(Clock::now());
    try {
      file_->write(at, piece);
      const std::uint64_t reached = at + piece.size() == end ? range.end() : (at + piece.size()) / kBlockBytes;
      if (reached == range.end() || reached >= present + kMarked) {
        file_->mark_present({present, reached - present});
        present = reached;
        if (!is_half && present >= range.first + range.count / 2) {
          is_half = true;
          go_on_behind(range);
        }
        fetcher_->wake();
      }
    } catch (const Error& error) {
      throw Unwritable{error};
    }
  };
  ask(range.first * kBlockBytes, end - range.first * kBlockBytes, client, cancel, std::ref(keep));
  return {.blocks = present - range.first, .took = begun ? Clock::now() - *begun : Clock::duration::zero()};
}

void LazySource::go_on_behind(BlockRange request) {
  const MutexLock lock(mutex_);
  const BlockRange ahead = read_ahead_.arriving(request);
  if (!ahead.empty() && ahead.first < file_->blocks()) {
    ahead_.push_back({ahead.first, std::min(ahead.count, file_->blocks() - ahead.first)});
  }
}

bool LazySource::ask(std::uint64_t first, std::uint64_t length, HttpClient& client, const CancelFlag& cancel,
                     const RangeSink& sink) noexcept {
  const Clock::time_point begun = Clock::now();
  const CancelFlag either(&cancel, &unused_);
  try {
    RangeRequest request = request_for(first, length);
    request.deadline = begun + fetcher_->patience() + std::chrono::seconds(length / kLeastRate + 2);
    fetch_counted(client, request, either, fetcher_->counters(), sink);
    return true;
  } catch (const Unwritable& unwritable) {
    (void)fetcher_->room().ran_out(unwritable.error, begun);
  } catch (const RangeError& error) {
    range_refused(error, client, either);
  } catch (const std::exception&) {
    Error error = current_error();
    if (error.code() != ErrorCode::kInterrupted) {
      log::debug("{}: {}", options_.remote.name, error);
      const MutexLock lock(mutex_);
      health_.failed(std::move(error), Clock::now(), std::nullopt);
    }
  }
  return false;
}

void LazySource::answered() {
  bool was_down = false;
  {
    const MutexLock lock(mutex_);
    was_down = health_.answered();
  }
  if (was_down) {
    log::warn("{}: the server answers again", options_.remote.name);
  }
}

void LazySource::range_refused(const RangeError& error, HttpClient& client, const CancelFlag& cancel) {
  using enum RangeError::Reason;
  log::debug("{}: {}", options_.remote.name, error);
  const bool is_transient = error.reason() == kBusy || error.reason() == kOther;
  if (!is_transient && renew(client, cancel)) {
    return;
  }
  bool is_new = false;
  {
    const MutexLock lock(mutex_);
    health_.failed(error, Clock::now(), error.retry_after());
    is_new = !is_transient && health_.give_up();  // waiting longer doesn't help
  }
  if (is_new) {
    log::warn("{}: files that aren't here yet can't be read: {}", options_.remote.name, error);
  }
}

bool LazySource::renew(HttpClient& client, const CancelFlag& cancel) {
  {
    const MutexLock lock(mutex_);
    const auto now = Clock::now();
    if (!options_.remote.renew || now < last_renewal_ + kRenewalInterval) {
      return false;
    }
    last_renewal_ = now;
  }
  try {
    std::optional<RemoteFile::Place> place = options_.remote.renew(client, cancel);
    const MutexLock lock(mutex_);
    if (!place || place->url.text() == options_.remote.url.text()) {
      return false;
    }
    log::debug("{}: the registry gave another URL", options_.remote.name);
    options_.remote.url = std::move(place->url);
    options_.remote.bearer = std::move(place->bearer);
    return true;
  } catch (const std::exception&) {
    log::debug("{}: no other URL: {}", options_.remote.name, current_error());
    return false;
  }
}

RangeRequest LazySource::request_for(std::uint64_t first, std::uint64_t length) const {
  const MutexLock lock(mutex_);
  return options_.remote.request(*file_, first, length);
}

}  // namespace pkgfs
