// SPDX-License-Identifier: MIT
#include "core/webc/tree.h"

#include "core/webc/bytes.h"
#include "core/webc/v1.h"
#include "core/webc/v2v3.h"

namespace pkgfs::webc {

std::unique_ptr<Tree> make_tree(Version version, std::span<const std::byte> file, const VolumeParts& parts) {
  if (version == Version::kV1) {
    return std::make_unique<V1Tree>(file, parts);
  }
  return std::make_unique<EntryTree>(file, parts, version == Version::kV3);
}

bool SeenNames::add(const Child& child) {
  if (sorted_) {
    if (last_.empty() || last_ < child.name) {
      last_ = child.name;
      return true;
    }
    sorted_ = false;
    for (Cursor cursor = first_; !cursor.done();) {
      const auto earlier = tree_.next(cursor);
      if (!earlier || earlier->at >= child.at) {
        break;
      }
      if (name_problem(earlier->name) == nullptr) {
        names_.insert(earlier->name);
      }
    }
  }
  return names_.insert(child.name).second;
}

std::string describe(const VolumeParts& parts, bool atoms, const Problem& problem) {
  const std::string section = atoms ? std::string("atoms") : "volume " + in_quotes(parts.name);
  return section + ", header offset " + hex(problem.at) + ": " + problem.text;
}

}  // namespace pkgfs::webc
