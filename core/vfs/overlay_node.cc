// SPDX-License-Identifier: MIT
#include "core/vfs/overlay_node.h"

#include "core/vfs/large_directory.h"
#include "core/vfs/path_text.h"

namespace pkgfs::vfs {

std::string OverlayPath::text() const {
  std::vector<std::string_view> names(depth);
  for (const OverlayPath* here = this; here->parent != nullptr; here = here->parent.get()) {
    names[here->depth - 1] = here->name;
  }
  return absolute_path(names);
}

OverlayContent::OverlayContent() = default;
OverlayContent::~OverlayContent() = default;

const OverlayNode& OverlayContent::at_large(std::size_t index, OverlayRoom& room) const {
  return large->at(index, room);
}

int OverlayContent::visit_large(std::size_t index,
                                FunctionRef<bool(std::size_t index, const OverlayNode&)> visit) const {
  return large == nullptr ? 0 : large->visit(index, visit);
}

const OverlayNode* OverlayContent::find_large(std::string_view name, std::size_t& index, OverlayRoom& room) const {
  return large == nullptr ? nullptr : large->find(name, index, room);
}

}  // namespace pkgfs::vfs
