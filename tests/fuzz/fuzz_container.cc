// SPDX-License-Identifier: MIT
#include <vector>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/webc/container.h"

using namespace pkgfs;

extern "C" int LLVMFuzzerInitialize(int*, char***) { return spdlog::set_level(spdlog::level::off), 0; }

extern "C" int LLVMFuzzerTestOneInput(const std::byte* data, std::size_t size) try {
  const auto source = std::make_shared<MemoryBytes>("fuzz", std::vector<std::byte>(data, data + size));
  const auto container = webc::Container::open(source);
  for (const auto& volume : container->volumes()) {
    std::vector<webc::EntryRef> pending = {webc::kRootRef};
    for (std::size_t next = 0; next < pending.size(); ++next) {
      if (next > size) {
        __builtin_trap();  // each directory takes bytes of its own
      }
      (void)volume->list(pending[next], [&](const webc::DirRecord& record) {
        const auto& info = record.info;
        if (record.error != 0) {
          return true;
        }
        if (info.kind == webc::EntryKind::kDirectory) {
          pending.push_back(record.ref);
        }
        if (info.kind == webc::EntryKind::kFile && (info.offset > size || info.length > size - info.offset)) {
          __builtin_trap();
        }
        return true;
      });
    }
  }
  (void)webc::verify(*container, webc::VerifyDepth::kContent);
  return 0;
} catch (const Error&) {
  return 0;
}
