// SPDX-License-Identifier: MIT
#include "core/vfs/merge.h"

#include <algorithm>

namespace pkgfs::vfs {

std::uint64_t number_layers(std::vector<Layer>& layers, std::uint64_t base) {
  for (Layer& layer : layers) {
    layer.number_base = base;
    base += layer.fs->numbers();
  }
  return base;
}

Decision decide(std::vector<Candidate>& candidates, Conflicts conflicts,
                FunctionRef<std::size_t(std::uint32_t layer)> depth) {
  Decision decision;
  const bool forced = std::any_of(candidates.begin(), candidates.end(), [](const Candidate& candidate) {
    return candidate.is_directory() && candidate.entry.attributes.mount_ancestor;
  });
  if (forced) {  // docs/rules/filesystem.md, 9.2 rule 1: a path above a mount is a directory, whatever else is there
    const auto others = std::stable_partition(candidates.begin(), candidates.end(),
                                              [](const Candidate& candidate) { return candidate.is_directory(); });
    decision.count = static_cast<std::size_t>(others - candidates.begin());
  } else if (!candidates.front().is_directory()) {  // docs/rules/filesystem.md, 9.2 rule 4
    decision.count = 1;
  } else {  // docs/rules/filesystem.md, 9.2 rule 5
    const auto other = std::find_if(candidates.begin(), candidates.end(),
                                    [](const Candidate& candidate) { return !candidate.is_directory(); });
    decision.count = static_cast<std::size_t>(other - candidates.begin());
  }
  decision.hidden = decision.count;
  decision.conflict = decision.count < candidates.size();
  if (!candidates.front().is_directory()) {
    return decision;
  }

  const auto is_real = [](const Candidate& candidate) { return !candidate.entry.attributes.synthetic; };
  const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(decision.count);
  const auto real = std::find_if(candidates.begin(), end, is_real);
  decision.winner = real == end ? 0 : static_cast<std::size_t>(real - candidates.begin());
  if (conflicts == Conflicts::kShadow && real != end) {
    // A mount hides what shallower mounts have below it.
    const std::size_t deepest = depth(real->layer);
    const auto kept = std::stable_partition(candidates.begin(), end, [&](const Candidate& candidate) {
      return !is_real(candidate) || depth(candidate.layer) >= deepest;
    });
    decision.count = static_cast<std::size_t>(kept - candidates.begin());
    decision.winner = static_cast<std::size_t>(std::find_if(candidates.begin(), kept, is_real) - candidates.begin());
  }
  return decision;
}

}  // namespace pkgfs::vfs
