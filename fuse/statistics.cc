// SPDX-License-Identifier: MIT
#include "fuse/statistics.h"

#include <functional>

namespace pkgfs::fuse {
namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(Request::kCount)> kNames{
    "lookup",  "forget",      "getattr",    "readlink", "open",     "read",      "release", "opendir",
    "readdir", "readdirplus", "releasedir", "statfs",   "getxattr", "listxattr", "other"};

}  // namespace

std::string_view name_of(Request request) { return kNames.at(static_cast<std::size_t>(request)); }

Statistics::Slot& Statistics::own() {
  static std::atomic<std::size_t> next{0};
  thread_local const std::size_t mine = next.fetch_add(1, kRelaxed) % kSlots;
  return slots_.at(mine);
}

template <typename Pick>
std::uint64_t Statistics::sum(const Pick& pick) const {
  std::uint64_t all = 0;
  for (const Slot& slot : slots_) {
    all += std::invoke(pick, slot).load(kRelaxed);
  }
  return all;
}

std::uint64_t Statistics::requests(Request request) const {
  return sum([request](const Slot& slot) -> const std::atomic<std::uint64_t>& {
    return slot.requests.at(static_cast<std::size_t>(request));
  });
}

std::string Statistics::to_json() const {
  std::string text = "{\"requests\":{";
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    text +=
        (i == 0 ? "\"" : ",\"") + std::string(kNames.at(i)) + "\":" + std::to_string(requests(static_cast<Request>(i)));
  }
  text += "},\"bytes_read\":" + std::to_string(sum(&Slot::bytes_read));
  text += ",\"files_pushed\":" + std::to_string(sum(&Slot::files_pushed));
  text += ",\"bytes_pushed\":" + std::to_string(sum(&Slot::bytes_pushed));
  text += ",\"polled\":" + std::to_string(sum(&Slot::polled));
  text += ",\"relieved\":" + std::to_string(sum(&Slot::relieved)) + "}";
  return text;
}

}  // namespace pkgfs::fuse
