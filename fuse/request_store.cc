// SPDX-License-Identifier: MIT
#include "fuse/request_store.h"

#include <linux/fuse.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <string>

#include "core/base/error.h"
#include "core/base/log.h"
#include "fuse/request_header.h"

namespace pkgfs::fuse {
namespace {

constexpr std::uint64_t kStoreMagic = 0x7473'6571'6572'6b70;  // "pkreqest"
/// One higher with each change of the layout.
constexpr std::uint32_t kStoreLayout = 2;
constexpr std::size_t kAreas = 2;
constexpr std::size_t kHeaderBytes = 4096;
/// Places get memory so many at a time.
constexpr std::size_t kPlacesAtOnce = 64;
/// Longer requests are BATCH_FORGET. No buffer of libfuse is smaller.
constexpr std::size_t kLongestRecovered = std::size_t{128} << 10U;

using Length = std::atomic_ref<std::uint32_t>;  // of a request, in its first word; 0: none

Length length_in(char* slot) { return Length(*reinterpret_cast<std::uint32_t*>(slot)); }

std::size_t page_bytes() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

/// Room for the longest request that the kernel may send. It depends on the largest write, which is at most 256 pages.
std::size_t bytes_of_slot() { return 256 * page_bytes() + 65536; }

std::size_t header_bytes() { return std::max(kHeaderBytes, page_bytes()); }

fuse_in_header header_in(std::span<const char> request) {
  fuse_in_header header{};
  std::memcpy(&header, request.data(), sizeof(header));
  return header;
}

/// Whether libfuse can take a request that another process may have written: it trusts the kernel.
bool is_safe(std::span<const char> request) {
  const fuse_in_header header = header_in(request);
  if (header.opcode == FUSE_BATCH_FORGET) {
    fuse_batch_forget_in batch{};
    if (request.size() < sizeof(header) + sizeof(batch)) {
      return false;
    }
    std::memcpy(&batch, request.data() + sizeof(header), sizeof(batch));
    return batch.count <= (request.size() - sizeof(header) - sizeof(batch)) / sizeof(fuse_forget_one);
  }
  return header.opcode != FUSE_INIT && header.opcode != FUSE_DESTROY;
}

/// The request in a slot or place of `room` bytes, with a zero behind it, as text needs it.
std::optional<RequestStore::Recovered> read_request(char* slot, std::size_t room) {
  const std::size_t length = length_in(slot).load(std::memory_order_acquire);
  if (length < sizeof(fuse_in_header)) {
    return std::nullopt;
  }
  const bool is_whole = length <= room;
  RequestStore::Recovered found{
      .bytes = {slot, slot + (is_whole ? length : sizeof(fuse_in_header))}, .is_whole = is_whole, .kept = {}};
  const auto known = static_cast<std::uint32_t>(length);
  std::memcpy(found.bytes.data(), &known, sizeof(known));
  if (is_whole && !is_safe(found.bytes)) {
    return std::nullopt;
  }
  return found;
}

}  // namespace

struct RequestStore::Area {
  std::array<std::atomic<bool>, kThreads> opened;  // slots that have memory
  std::atomic<std::uint32_t> used;                 // places from this one on have never been taken
  std::atomic<std::uint64_t> lost;
};

struct RequestStore::Header {
  std::uint64_t magic = 0;
  std::uint32_t layout = 0;
  std::uint32_t slot_bytes = 0;
  std::atomic<std::uint32_t> area;  // of the daemon that serves the mount
  std::array<Area, kAreas> areas;
};

namespace {

std::size_t bytes_of_area() {
  return RequestStore::kThreads * bytes_of_slot() + RequestStore::kPlaces * RequestStore::kPlaceBytes;
}

}  // namespace

std::size_t RequestStore::all_bytes() {
  static_assert(sizeof(Header) <= kHeaderBytes);
  return header_bytes() + kAreas * bytes_of_area();
}

RequestStore::RequestStore(SharedMemory memory) : memory_(std::move(memory)), slot_bytes_(bytes_of_slot()) {
  const MutexLock lock(mutex_);
  free_.reserve(kPlaces);  // so that `give_back` never fails
}

std::unique_ptr<RequestStore> RequestStore::create() {
  const std::string what = "Unable to keep the requests of the mount";
  std::unique_ptr<RequestStore> store(new RequestStore(SharedMemory::create("pkgfs-requests", all_bytes(), what)));
  if (!store->memory_.allocate(0, header_bytes())) {
    throw system_error(what, errno);
  }
  Header& header = store->header();
  header.layout = kStoreLayout;
  header.slot_bytes = static_cast<std::uint32_t>(bytes_of_slot());
  header.magic = kStoreMagic;
  return store;
}

std::unique_ptr<RequestStore> RequestStore::adopt(UniqueFd file) {
  std::unique_ptr<RequestStore> store = open(std::move(file));
  store->area_ = store->header().area % kAreas;
  return store;
}

std::unique_ptr<RequestStore> RequestStore::adopt_beside(UniqueFd file) {
  std::unique_ptr<RequestStore> store = open(std::move(file));
  store->area_ = (store->header().area + 1) % kAreas;
  store->is_beside_ = true;
  store->forget(store->area_);  // of an earlier attempt
  return store;
}

std::unique_ptr<RequestStore> RequestStore::open(UniqueFd file) {
  const std::string what = "The requests that an earlier daemon kept can't be adopted";
  std::unique_ptr<RequestStore> store(new RequestStore(SharedMemory::adopt(std::move(file), all_bytes(), what)));
  const Header& header = store->header();
  if (header.magic != kStoreMagic) {
    throw Error(ErrorCode::kCorrupt, {what, "their file holds something else"});
  }
  if (header.layout != kStoreLayout || header.slot_bytes != bytes_of_slot()) {
    throw Error(ErrorCode::kUnsupported, {what, "their layout is number " + std::to_string(header.layout) +
                                                    ", and that of this pkgfs is " + std::to_string(kStoreLayout)});
  }
  return store;
}

RequestStore::Header& RequestStore::header() const { return *reinterpret_cast<Header*>(memory_.data()); }

RequestStore::Area& RequestStore::area(std::size_t number) const { return header().areas.at(number); }

char* RequestStore::slot(std::size_t area, std::size_t thread) const {
  return reinterpret_cast<char*>(memory_.data()) + header_bytes() + area * bytes_of_area() + thread * slot_bytes_;
}

char* RequestStore::place(std::size_t area, std::size_t index) const {
  return slot(area, kThreads) + index * kPlaceBytes;
}

std::size_t RequestStore::offset_of(const char* memory) const {
  return static_cast<std::size_t>(memory - reinterpret_cast<const char*>(memory_.data()));
}

std::uint64_t RequestStore::lost() const { return area(0).lost + area(1).lost; }

std::map<std::uint64_t, RequestStore::Recovered> RequestStore::read_other() const {
  const std::size_t other = 1 - area_;
  std::map<std::uint64_t, Recovered> found;
  const auto add = [&](std::optional<Recovered> request) {
    // The other daemon may answer the same request. The kernel takes only the first reply; to these there is none, so
    // they would count twice. One that is lost leaves a count too high, which only keeps memory.
    if (request && !returns_references(header_in(request->bytes).opcode)) {
      found.try_emplace(header_in(request->bytes).unique, *std::move(request));
    }
  };
  const std::size_t used = std::min<std::size_t>(area(other).used, kPlaces);
  for (std::size_t i = 0; i < used; ++i) {
    add(read_request(place(other, i), kPlaceBytes));
  }
  for (std::size_t i = 0; i < kThreads; ++i) {
    add(area(other).opened.at(i) ? read_request(slot(other, i), kLongestRecovered) : std::nullopt);
  }
  return found;
}

void RequestStore::forget(std::size_t number) {
  Area& forgotten = area(number);
  const std::size_t used = std::min<std::size_t>(forgotten.used, kPlaces);
  for (std::size_t i = 0; i < used; ++i) {
    clear(place(number, i));
  }
  for (std::size_t i = 0; i < kThreads; ++i) {
    if (forgotten.opened.at(i)) {
      clear(slot(number, i));
    }
  }
  forgotten.lost = 0;
}

void RequestStore::serve() { header().area = static_cast<std::uint32_t>(area_); }

std::vector<RequestStore::Recovered> RequestStore::take_back() {
  std::vector<Recovered> all;
  std::map<std::uint64_t, Recovered> found = read_other();
  for (auto& [number, request] : found) {
    request.kept = keep(request.bytes);
    all.push_back(std::move(request));
  }
  // This process may be stopped here, and another daemon may begin to use the area: only what was read is forgotten.
  const std::size_t other = 1 - area_;
  const auto clear_if_read = [&](char* slot) {
    std::uint32_t length = length_in(slot).load(std::memory_order_acquire);
    if (length != 0 && found.contains(header_in({slot, sizeof(fuse_in_header)}).unique)) {
      (void)length_in(slot).compare_exchange_strong(length, 0);
    }
  };
  for (std::size_t i = 0; i < std::min<std::size_t>(area(other).used, kPlaces); ++i) {
    clear_if_read(place(other, i));
  }
  for (std::size_t i = 0; i < kThreads; ++i) {
    if (area(other).opened.at(i)) {
      clear_if_read(slot(other, i));
    }
  }
  area(other).lost = 0;
  return all;
}

std::vector<RequestStore::Recovered> RequestStore::recover() {
  std::map<std::uint64_t, Recovered> found;  // by the number that the kernel gave them, which counts up
  const std::size_t used = std::min<std::size_t>(own().used, kPlaces);
  own().lost = 0;
  for (std::size_t i = 0; i < used; ++i) {
    Kept kept(this, i);
    if (std::optional<Recovered> request = read_request(place(i), kPlaceBytes)) {
      request->kept = std::move(kept);
      found.try_emplace(header_in(request->bytes).unique, std::move(*request));
    }
  }
  for (std::size_t i = 0; i < kThreads; ++i) {
    if (!own().opened.at(i)) {
      continue;
    }
    std::optional<Recovered> request = read_request(slot(i), kLongestRecovered);
    if (request && !found.contains(header_in(request->bytes).unique)) {
      request->kept = keep(request->bytes);
      found.emplace(header_in(request->bytes).unique, std::move(*request));
    }
    clear(slot(i));
  }
  for (auto& [number, request] : read_other()) {
    if (!found.contains(number)) {
      request.kept = keep(request.bytes);
      found.emplace(number, std::move(request));
    }
  }
  if (!is_beside_) {
    forget(1 - area_);
  }
  std::vector<Recovered> all;
  all.reserve(found.size());
  for (auto& [number, request] : found) {
    all.push_back(std::move(request));
  }
  return all;
}

char* RequestStore::open_slot(std::size_t thread) {
  char* const memory = slot(thread);
  if (!memory_.allocate(offset_of(memory), page_bytes())) {
    return nullptr;
  }
  clear(memory);
  (void)::mlock(memory, page_bytes());
  own().opened.at(thread) = true;
  return memory;
}

void RequestStore::clear(char* slot) { length_in(slot).store(0, std::memory_order_release); }

void RequestStore::put(char* slot, std::span<const char> request) {
  clear(slot);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::uint32_t length = 0;
  std::memcpy(&length, request.data(), sizeof(length));
  std::ranges::copy(request.subspan(sizeof(length)), slot + sizeof(length));
  length_in(slot).store(length, std::memory_order_release);
}

RequestStore::Kept RequestStore::keep(std::span<const char> request) {
  const MutexLock lock(mutex_);
  const std::size_t index = take_place();
  if (index == kPlaces) {
    ++own().lost;
    log::debug("there is no place to keep request {}: no successor of this daemon can answer it",
               header_in(request).unique);
  } else {
    put(place(index), request.size() <= kPlaceBytes ? request : request.first(sizeof(fuse_in_header)));
  }
  return {this, index};
}

std::size_t RequestStore::take_place() {
  if (!free_.empty()) {
    const std::size_t index = free_.back();
    free_.pop_back();
    return index;
  }
  const std::size_t next = std::min<std::size_t>(own().used, kPlaces);
  if (next == kPlaces) {
    return kPlaces;
  }
  if (next % kPlacesAtOnce == 0 && !memory_.allocate(offset_of(place(next)), kPlacesAtOnce * kPlaceBytes)) {
    return kPlaces;
  }
  own().used = static_cast<std::uint32_t>(next + 1);
  return next;
}

void RequestStore::give_back(std::size_t index) {
  if (index == kPlaces) {
    --own().lost;
    return;
  }
  clear(place(index));
  const MutexLock lock(mutex_);
  free_.push_back(static_cast<std::uint16_t>(index));
}

void RequestStore::Kept::release() {
  if (RequestStore* const store = std::exchange(store_, nullptr)) {
    store->give_back(place_);
  }
}

}  // namespace pkgfs::fuse
