// SPDX-License-Identifier: MIT
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "core/load/archive_tree.h"
#include "core/load/read_tarball.h"

namespace {

/// One gzip member that stores `data`: a mutated one would have a wrong CRC nearly always.
std::vector<std::byte> stored(const std::byte* data, std::size_t size) {
  constexpr std::size_t kBlock = 65535;
  std::string out("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
  const auto number = [&out](std::size_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) {
      out += static_cast<char>(value >> (8 * i));
    }
  };
  for (std::size_t at = 0; at == 0 || at < size; at += kBlock) {
    const std::size_t length = std::min(kBlock, size - at);
    out += at + length == size ? '\1' : '\0';
    number(length, 2);
    number(~length, 2);
    out.append(reinterpret_cast<const char*>(data) + at, length);
  }
  number(::crc32(0, reinterpret_cast<const Bytef*>(data), static_cast<uInt>(size)), 4);
  number(size, 4);
  const auto* bytes = reinterpret_cast<const std::byte*>(out.data());
  return {bytes, bytes + out.size()};
}

}  // namespace

/// A tar archive, packed or not: every name that is kept stays inside, and every body lies in the spool.
extern "C" int LLVMFuzzerTestOneInput(const std::byte* data, std::size_t size) {
  using namespace pkgfs;
  const bool is_packed = size >= 2 && data[0] == std::byte{0x1f} && data[1] == std::byte{0x8b};
  try {
    const auto tree =
        read_tarball(MemoryBytes("fuzz", is_packed ? std::vector(data, data + size) : stored(data, size)));
    for (ArchiveTree::Index i = 1; i < tree->size(); ++i) {
      const ArchiveTree::Node& node = tree->node(i);
      const bool bad_name =
          node.name.empty() || node.name == "." || node.name == ".." || node.name.find('/') != node.name.npos;
      if (bad_name || node.parent >= i || node.offset + node.length > tree->source().size()) {
        std::abort();
      }
      (void)tree->find(HostPath::parse(tree->path_of(i)));
    }
  } catch (const Error&) {  // refused
  }
  return 0;
}
