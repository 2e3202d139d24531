// SPDX-License-Identifier: MIT
#include "core/vfs/live_layers.h"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/base/limits.h"

namespace pkgfs::vfs {
namespace {

/// Layers that can be added to a tree beside twice as many as it begins with. Few removed layers still have users,
/// because the kernel forgets the entries of removed mappings.
constexpr std::size_t kRoom = 1024;

std::size_t number_of_slots(std::size_t layers, bool replaceable) {
  return replaceable ? std::min(2 * layers + kRoom, limits::kLiveLayers) : layers;
}

std::uint32_t checked_number(const std::vector<Layer>& layers) {
  if (layers.size() > limits::kLiveLayers) {
    throw Error(ErrorCode::kUnsupported, "The tree has a live directory and " + std::to_string(layers.size()) +
                                             " layers; at most " + std::to_string(limits::kLiveLayers) +
                                             " can be laid over each other");
  }
  return static_cast<std::uint32_t>(layers.size());
}

}  // namespace

LiveLayers::Moment::~Moment() {
  // While one operation waits for a disk, there may be many moments. So this isn't recursive: the first destructor of a
  // thread takes over the `next` of those that it causes.
  thread_local std::shared_ptr<Moment>* taker = nullptr;
  std::shared_ptr<Moment>* const first = std::exchange(taker, nullptr);
  if (last) {
    last();
  }
  if (first != nullptr) {
    *first = std::move(next);
    return;
  }
  while (next != nullptr) {
    std::shared_ptr<Moment> after;
    taker = &after;
    next.reset();
    taker = nullptr;
    next = std::move(after);
  }
}

LiveLayers::LiveLayers(std::vector<Layer> layers, bool replaceable)
    : replaceable_(replaceable), initial_(checked_number(layers)), slots_(number_of_slots(layers.size(), replaceable)) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    slots_[i].layer = std::make_unique<Layer>(std::move(layers[i]));
    slots_[i].users = 1;
  }
  if (replaceable) {
    now_ = std::make_shared<Moment>();
    free_.reserve(slots_.size());
    for (std::size_t number = slots_.size(); number > layers.size(); --number) {
      free_.push_back(static_cast<std::uint32_t>(number - 1));
    }
  }
}

LiveLayers::~LiveLayers() = default;

std::shared_ptr<const void> LiveLayers::moment() const {
  const MutexLock lock(now_mutex_);
  return now_;
}

std::size_t LiveLayers::room() const {
  const MutexLock lock(mutex_);
  return free_.size();
}

std::uint32_t LiveLayers::add(Layer layer) {
  auto added = std::make_unique<Layer>(std::move(layer));
  const MutexLock lock(mutex_);
  const std::uint32_t number = free_.back();
  free_.pop_back();
  slots_[number].layer = std::move(added);
  slots_[number].users = 1;
  return number;
}

void LiveLayers::add_user(std::uint32_t number) {
  if (replaceable_) {
    slots_[number].users.fetch_add(1, std::memory_order_relaxed);
  }
}

bool LiveLayers::try_add_user(std::uint32_t number) {
  if (!replaceable_) {
    return true;
  }
  std::uint64_t users = slots_[number].users.load(std::memory_order_relaxed);
  while (users != 0 && !slots_[number].users.compare_exchange_weak(users, users + 1, std::memory_order_relaxed)) {
  }
  return users != 0;
}

void LiveLayers::drop_users(std::uint32_t number, std::uint64_t count) noexcept {
  if (replaceable_ && slots_[number].users.fetch_sub(count, std::memory_order_acq_rel) == count) {
    remove(number);
  }
}

void LiveLayers::remove(std::uint32_t number) noexcept {
  retire([this, number] {
    const std::unique_ptr<Layer> removed = std::move(slots_[number].layer);
    const MutexLock lock(mutex_);
    free_.push_back(number);
  });
}

void LiveLayers::retire(std::function<void()> last) noexcept {
  try {
    const auto fresh = std::make_shared<Moment>();
    std::shared_ptr<Moment> ended = fresh;
    {
      const MutexLock lock(now_mutex_);
      ended.swap(now_);
    }
    ended->last = std::move(last);
    ended->next = fresh;
  } catch (const std::bad_alloc&) {
    return;  // what was retired stays for ever, because operations may still use it
  }
}

}  // namespace pkgfs::vfs
