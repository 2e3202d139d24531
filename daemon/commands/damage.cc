// SPDX-License-Identifier: MIT
#include "daemon/commands/damage.h"

#include <ostream>
#include <string>

#include "core/base/error.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/text_output.h"

namespace pkgfs {

void Damage::report(std::string_view path, int error) {
  first_ = first_ == 0 ? error : first_;
  err_ << error_text(system_error("\"" + std::string(path) + "\" in the tree", error).what());
}

int Damage::exit_code() const { return first_ == 0 ? kExitOk : to_exit_code(system_error("", first_).code()); }

}  // namespace pkgfs
