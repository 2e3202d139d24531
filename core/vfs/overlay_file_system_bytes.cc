// SPDX-License-Identifier: MIT
// The members of OverlayFileSystem for answers that depend on bytes of the packages: the mode of a program, and what
// follows if bytes are lost or were changed (core/base/lost_pages.h).
#include <algorithm>
#include <cerrno>
#include <span>
#include <string_view>

#include "core/base/lost_pages.h"
#include "core/base/read_faults.h"
#include "core/base/read_section.h"
#include "core/vfs/executables.h"
#include "core/vfs/overlay_file_system.h"

namespace pkgfs::vfs {

Result<void> OverlayFileSystem::read_mode(const OverlayPart& file, Attributes& attributes) const {
  const ReadPause pause;
  const Result<bool> program = begins_like_a_program(*layers_[file.layer].fs, file.inode);
  if (!program) {
    return fail(program.error());
  }
  attributes.mode = *program ? 0755 : attributes.mode;
  attributes.may_be_program = false;
  return {};
}

bool OverlayFileSystem::parts_are_intact(const OverlayNode& node) const {
  if (node.parts == nullptr) {
    return layers_[node.layer].fs->is_intact(node.inode);
  }
  return std::ranges::all_of(*node.parts,
                             [this](const OverlayPart& part) { return layers_[part.layer].fs->is_intact(part.inode); });
}

Result<void> OverlayFileSystem::confirm_names(const OverlayNode& dir, const OverlayContent& content, std::size_t from,
                                              std::size_t end, std::uint64_t before) const {
  bool is_right = true;
  if (lost_pages::ever() && from < end) [[unlikely]] {
    (void)content.visit(from, [&](std::size_t index, const OverlayNode& node) {
      is_right = lost_pages::check(std::as_bytes(std::span(node.name_view())), before) == lost_pages::Outcome::kRight;
      return is_right && index + 1 < end;
    });
  }
  if (!is_right || !parts_are_intact(dir)) {
    read_faults::count(is_right ? read_faults::Cause::kChanged : read_faults::Cause::kRead);
    return fail(EIO);
  }
  return {};
}

Result<const OverlayNode*> OverlayFileSystem::confirm_absence(const OverlayNode& dir, const OverlayContent& content,
                                                              std::string_view name, std::size_t& index) const {
  auto worst = lost_pages::Outcome::kRight;
  while (lost_pages::ever() && content.nodes != nullptr) {
    const std::uint64_t before = lost_pages::events();
    worst = lost_pages::Outcome::kRight;
    for (index = 0; index < content.count; ++index) {
      const std::string_view found = content.nodes[index].name_view();
      const bool is_equal = found == name;
      const auto outcome = lost_pages::check(std::as_bytes(std::span(found)), before);
      if (is_equal && outcome == lost_pages::Outcome::kRight) {
        return &content.nodes[index];
      }
      worst = std::max(worst, outcome);
    }
    if (worst != lost_pages::Outcome::kAgain) {
      break;
    }
  }
  if (worst == lost_pages::Outcome::kLost) {
    read_faults::count(read_faults::Cause::kRead);
    return fail(EIO);
  }
  if (!parts_are_intact(dir)) {
    read_faults::count(read_faults::Cause::kChanged);
    return fail(EIO);
  }
  return fail(ENOENT);
}

}  // namespace pkgfs::vfs
