// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <memory>
#include <vector>

#include "core/load/archive_tree.h"
#include "core/load/read_tarball.h"

/// A tar archive, packed or not: every name that is kept stays inside, and every body lies in the spool.
extern "C" int LLVMFuzzerTestOneInput(const std::byte* data, std::size_t size) {
  using namespace pkgfs;
  try {
    const auto tree = read_tarball(MemoryBytes("fuzz", std::vector(data, data + size)));
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
