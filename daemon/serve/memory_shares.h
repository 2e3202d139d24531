// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace pkgfs {

/// The memory for merged directories that the packages of a served directory may use together. A package gets an eighth
/// of what no other one has, but at least `kLeast`: with less, it would merge the same directories again and again. So
/// `most()` packages use at most nine times `total`. Thread-safe.
class MemoryShares {
 public:
  static constexpr std::size_t kLeast = std::size_t{64} << 10U;  // bytes

  /// `total`: in bytes.
  explicit MemoryShares(std::size_t total) : total_(total) {}

  /// Destroying it gives the memory back. It may outlive the shares.
  class Share {
   public:
    Share(std::shared_ptr<std::atomic<std::size_t>> taken, std::size_t bytes)
        : taken_(std::move(taken)), bytes_(bytes) {}
    Share(Share&& other) noexcept = default;
    Share& operator=(Share&&) = delete;
    ~Share() {
      if (taken_ != nullptr) {
        *taken_ -= bytes_;
      }
    }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }

   private:
    std::shared_ptr<std::atomic<std::size_t>> taken_;
    std::size_t bytes_;
  };
  [[nodiscard]] Share take() {
    std::size_t taken = *taken_;
    std::size_t bytes = 0;
    do {
      bytes = std::max((total_ - std::min(taken, total_)) / kEach, std::min(total_, kLeast));
    } while (!taken_->compare_exchange_weak(taken, taken + bytes));
    return {taken_, bytes};
  }
  /// How many packages may be open at once.
  [[nodiscard]] std::size_t most() const { return std::max<std::size_t>(total_ / kLeast, 1) * kEach; }

 private:
  static constexpr std::size_t kEach = 8;
  std::size_t total_;
  std::shared_ptr<std::atomic<std::size_t>> taken_ = std::make_shared<std::atomic<std::size_t>>(0);
};

}  // namespace pkgfs
