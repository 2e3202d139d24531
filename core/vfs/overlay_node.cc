// SPDX-License-Identifier: MIT
#include "core/vfs/overlay_node.h"

#include "core/vfs/large_directory.h"

namespace pkgfs::vfs {

OverlayContent::OverlayContent() = default;
OverlayContent::~OverlayContent() = default;

const OverlayNode& OverlayContent::at_large(std::size_t index, OverlayRoom& room) const {
  return large->at(index, room);
}

void OverlayContent::visit_large(std::size_t index,
                                 FunctionRef<bool(std::size_t index, const OverlayNode&)> visit) const {
  large->visit(index, visit);
}

const OverlayNode* OverlayContent::find_large(std::string_view name, std::size_t& index, OverlayRoom& room) const {
  return large == nullptr ? nullptr : large->find(name, index, room);
}

}  // namespace pkgfs::vfs
