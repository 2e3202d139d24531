// SPDX-License-Identifier: MIT
#include "core/base/error.h"
#include "core/webc/container.h"

using namespace pkgfs;
using namespace pkgfs::webc;

extern "C" int LLVMFuzzerTestOneInput(const std::byte* data, std::size_t size) try {
  const auto container = Container::open(std::make_shared<MemoryBytes>("fuzz", std::vector(data, data + size)));
  for (const auto& volume : container->volumes()) {
    std::vector<EntryRef> pending = {kRootRef};
    const auto visit = [&](const DirRecord& record) {
      const EntryInfo& info = record.info;
      const bool usable = record.error == 0;
      if (usable && info.kind == EntryKind::kDirectory) {
        pending.push_back(record.ref);
      }
      const bool outside = info.offset > size || info.length > size - info.offset;
      if (usable && info.kind == EntryKind::kFile && outside) {
        __builtin_trap();
      }
      return true;
    };
    for (std::size_t next = 0; next < pending.size(); ++next) {
      if (next > size) {
        __builtin_trap();  // each directory takes bytes of its own
      }
      (void)volume->list(pending[next], visit);
    }
  }
  return (void)verify(*container, VerifyDepth::kContent), 0;
} catch (const Error&) {
  return 0;
}
