// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/latency.h"
#include "core/lazy/lazy_source.h"

namespace pkgfs {

/// What statistics and metrics show of the containers that weren't complete when the mount was made, at one moment.
struct LazyState {
  using State = LazySource::State;
  struct Container {
    std::string package;
    State state = State::kLazy;
    std::uint64_t bytes = 0;
    std::uint64_t local = 0;  // of these
    std::string problem;      // LazySource::problem
  };

  std::vector<Container> containers;
  bool in_background = true;  // what no reader needs is fetched, too

  // Counts since the process began, as in LazyCounters.
  std::uint64_t requests = 0;
  std::uint64_t failed_requests = 0;
  std::uint64_t fetched = 0;  // bytes
  LatencyCounts first_bytes;
  std::uint64_t reads = 0;
  std::uint64_t waiting = 0;  // of these reads, those whose wait isn't over
  std::uint64_t failed_reads = 0;
  LatencyCounts waits;
  std::uint64_t checked = 0;
  std::uint64_t mismatches = 0;

  /// kTampered if one container is; else kWhole if all are.
  [[nodiscard]] State state() const;
  [[nodiscard]] std::uint64_t count(State state) const;
  /// The sums over all containers.
  [[nodiscard]] std::uint64_t bytes() const;
  [[nodiscard]] std::uint64_t local() const;
};

/// "lazy", "whole" or "tampered".
[[nodiscard]] std::string_view name_of(LazyState::State state);

/// Of all `sources` of a mount; none if there are none. Thread-safe.
[[nodiscard]] std::optional<LazyState> lazy_state(std::span<const std::shared_ptr<LazySource>> sources);

}  // namespace pkgfs
