// SPDX-License-Identifier: MIT
#include "daemon/mount/let_go.h"

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "core/vfs/generations.h"
#include "core/vfs/walk.h"

namespace pkgfs {

void let_go_of(fuse::Session& session, vfs::FileSystem& tree, std::uint64_t generation,
               const std::set<std::string>& spared, const std::atomic<bool>& stopping) {
  constexpr std::size_t kBatch = 4096;
  std::vector<fuse::Session::OldNode> nodes;
  std::vector<std::uint64_t> directories;  // on the way to the entry
  for (vfs::TreeWalk walk(tree, tree.root(), {.batch = kBatch}); !stopping && walk.next();) {
    const vfs::WalkStep& step = walk.step();
    const std::uint64_t node = vfs::Generations::inode_of(generation, step.inode);
    if (step.leaving && directories.empty()) {
      break;  // the root, which all versions share
    }
    if (step.leaving) {
      directories.pop_back();
    } else if (directories.empty() && spared.contains(std::string(step.name))) {
      walk.skip();
      continue;
    } else if (step.attributes.type == vfs::FileType::kDirectory && step.error == 0) {
      directories.push_back(node);  // it comes after its entries
      continue;
    }
    nodes.push_back(
        {.node = node, .parent = directories.empty() ? 0 : directories.back(), .name = std::string(step.name)});
    if (nodes.size() >= kBatch) {
      session.let_go(nodes);
      nodes.clear();
    }
  }
  session.let_go(nodes);
}

}  // namespace pkgfs
