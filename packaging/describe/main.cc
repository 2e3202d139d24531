// SPDX-License-Identifier: MIT
// Writes the manual pages, the reference and the completions from the program's own tables:
//   pkgfs_describe page SOURCE >PAGE.scd
//   pkgfs_describe reference >docs/REFERENCE.md
//   pkgfs_describe bash|zsh|fish >FILE
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "packaging/describe/describe.h"

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "page" && argc == 3) {
    std::ifstream file(argv[2], std::ios::binary);
    const std::string source{std::istreambuf_iterator<char>(file), {}};
    if (!file || source.empty()) {
      std::cerr << "pkgfs_describe: can't read " << argv[2] << '\n';
      return 1;
    }
    pkgfs::describe::write_page(std::cout, source);
  } else if (what == "reference" && argc == 2) {
    pkgfs::describe::write_reference(std::cout);
  } else if (what == "bash" && argc == 2) {
    pkgfs::describe::write_bash(std::cout);
  } else if (what == "zsh" && argc == 2) {
    pkgfs::describe::write_zsh(std::cout);
  } else if (what == "fish" && argc == 2) {
    pkgfs::describe::write_fish(std::cout);
  } else {
    std::cerr << "usage: pkgfs_describe page SOURCE | reference | bash | zsh | fish\n";
    return 2;
  }
  return std::cout.flush() ? 0 : 1;
}
