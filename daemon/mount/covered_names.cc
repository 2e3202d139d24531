// SPDX-License-Identifier: MIT
#include "daemon/mount/covered_names.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "daemon/mount/mount_table.h"

namespace pkgfs {
namespace {

struct TableLine {
  std::string parent;
  std::string device;
  std::string root;        // the directory of the file system that is mounted
  std::string mountpoint;  // in the namespace
};

std::map<std::string, TableLine> parse_table(std::string_view mountinfo) {
  std::map<std::string, TableLine> lines;
  std::istringstream text{std::string(mountinfo)};
  for (std::string line; std::getline(text, line);) {
    std::istringstream fields(line);
    std::string id;
    TableLine parsed;
    if (fields >> id >> parsed.parent >> parsed.device >> parsed.root >> parsed.mountpoint) {
      parsed.root = unescape_mountinfo(parsed.root);
      parsed.mountpoint = unescape_mountinfo(parsed.mountpoint);
      lines.insert_or_assign(std::move(id), std::move(parsed));
    }
  }
  return lines;
}

}  // namespace

void add_covered_names(std::string_view mountinfo, std::string_view device, std::set<std::string>& names) {
  const std::map<std::string, TableLine> lines = parse_table(mountinfo);
  for (const auto& [id, line] : lines) {
    const auto below = lines.find(line.parent);
    if (below == lines.end() || below->second.device != device ||
        !line.mountpoint.starts_with(below->second.mountpoint) ||
        below->second.root.ends_with("//deleted")) {  // a bind of an older version isn't below the root any more
      continue;
    }
    const std::string path = below->second.root + "/" + line.mountpoint.substr(below->second.mountpoint.size());
    const std::size_t begin = std::min(path.find_first_not_of('/'), path.size());
    if (std::string name = path.substr(begin, path.find('/', begin) - begin); !name.empty()) {
      names.insert(std::move(name));
    }
  }
}

std::set<std::string> covered_names(const std::string& device) {
  std::set<std::string> names;
  (void)for_each_mount_table([&](const std::string& mountinfo) { add_covered_names(mountinfo, device, names); });
  return names;
}

}  // namespace pkgfs
