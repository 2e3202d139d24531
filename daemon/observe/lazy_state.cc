// SPDX-License-Identifier: MIT
#include "daemon/observe/lazy_state.h"

#include <algorithm>

#include "core/lazy/lazy_counters.h"

namespace pkgfs {

LazyState::State LazyState::state() const {
  return count(State::kTampered) > 0                 ? State::kTampered
         : count(State::kWhole) == containers.size() ? State::kWhole
                                                     : State::kLazy;
}

std::uint64_t LazyState::count(State state) const {
  return static_cast<std::uint64_t>(std::ranges::count(containers, state, &Container::state));
}

std::uint64_t LazyState::bytes() const {
  std::uint64_t sum = 0;
  for (const Container& container : containers) {
    sum += container.bytes;
  }
  return sum;
}

std::uint64_t LazyState::local() const {
  std::uint64_t sum = 0;
  for (const Container& container : containers) {
    sum += container.local;
  }
  return sum;
}

std::string_view name_of(LazyState::State state) {
  switch (state) {
    case LazyState::State::kLazy:
      return "lazy";
    case LazyState::State::kWhole:
      return "whole";
    case LazyState::State::kTampered:
      return "tampered";
  }
  return "";
}

std::optional<LazyState> lazy_state(std::span<const std::shared_ptr<LazySource>> sources) {
  if (sources.empty()) {
    return std::nullopt;
  }
  LazyState state;
  for (const std::shared_ptr<LazySource>& source : sources) {
    const LazyState::State now = source->state();  // first: afterwards, more bytes may be here
    state.containers.push_back({.package = source->package(),
                                .state = now,
                                .bytes = source->bytes().size(),
                                .local = source->bytes_here(),
                                .problem = now == LazyState::State::kLazy ? source->problem() : std::string()});
    state.in_background = state.in_background && source->is_fetched_in_background();
  }
  const LazyCounters& counters = sources.front()->counters();
  constexpr auto kRelaxed = std::memory_order_relaxed;
  state.waits = counters.waits.counts();  // before the reads
  state.reads = counters.reads.load(kRelaxed);
  state.waiting = state.reads - std::min(state.waits.count, state.reads);
  state.failed_reads = counters.failed_reads.load(kRelaxed);
  state.requests = counters.requests.load(kRelaxed);
  state.failed_requests = counters.failures.load(kRelaxed);
  state.fetched = counters.bytes.load(kRelaxed);
  state.first_bytes = counters.first_bytes.counts();
  state.checked = counters.checked.load(kRelaxed);
  state.mismatches = counters.mismatches.load(kRelaxed);
  return state;
}

}  // namespace pkgfs
