// SPDX-License-Identifier: MIT
#include "core/lazy/fetch_counted.h"

#include <chrono>
#include <utility>

#include "core/base/error.h"

namespace pkgfs {

void fetch_counted(HttpClient& client, const RangeRequest& request, const CancelFlag& cancel, LazyCounters& counters,
                   const RangeSink& sink) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kRelaxed = std::memory_order_relaxed;
  const Clock::time_point begun = Clock::now();
  bool has_begun = false;
  counters.requests.fetch_add(1, kRelaxed);
  try {
    (void)fetch_range(client, request, cancel,
                      [&](const RemoteVersion& version, std::uint64_t at, std::span<const std::byte> piece) {
                        if (!std::exchange(has_begun, true)) {
                          counters.first_bytes.add(Clock::now() - begun);
                        }
                        counters.bytes.fetch_add(piece.size(), kRelaxed);
                        sink(version, at, piece);
                      });
  } catch (const std::exception&) {
    if (current_error().code() != ErrorCode::kInterrupted) {
      counters.failures.fetch_add(1, kRelaxed);
    }
    throw;
  }
}

}  // namespace pkgfs
