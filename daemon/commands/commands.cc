// SPDX-License-Identifier: MIT
#include "daemon/commands/commands.h"

#include "core/base/error.h"

namespace pkgfs {

CommandFunction command_function(CommandId id) {
  switch (id) {
    case CommandId::kMount:
      return cmd_mount;
    case CommandId::kServe:
      return cmd_serve;
    case CommandId::kUnmount:
      return cmd_unmount;
    case CommandId::kMounts:
      return cmd_mounts;
    case CommandId::kStats:
      return cmd_stats;
    case CommandId::kRefresh:
      return cmd_refresh;
    case CommandId::kRollback:
      return cmd_rollback;
    case CommandId::kUpgradeMounts:
      return cmd_upgrade_mounts;
    case CommandId::kWait:
      return cmd_wait;
    case CommandId::kInspect:
      return cmd_inspect;
    case CommandId::kVerify:
      return cmd_verify;
    case CommandId::kTree:
      return cmd_tree;
    case CommandId::kLs:
      return cmd_ls;
    case CommandId::kCat:
      return cmd_cat;
    case CommandId::kExtract:
      return cmd_extract;
    case CommandId::kPack:
      return cmd_pack;
    case CommandId::kChanges:
      return cmd_changes;
    case CommandId::kDiscard:
      return cmd_discard;
    case CommandId::kDiff:
      return cmd_diff;
    case CommandId::kExport:
      return cmd_export;
    case CommandId::kResolve:
      return cmd_resolve;
    case CommandId::kPush:
      return cmd_push;
    case CommandId::kPull:
      return cmd_pull;
    case CommandId::kCache:
      return cmd_cache;
    case CommandId::kConfig:
      return cmd_config;
    case CommandId::kVolumePlugin:
      return cmd_volume_plugin;
    case CommandId::kDoctor:
      return cmd_doctor;
  }
  throw Error(ErrorCode::kInternal, "a command without a function");
}

}  // namespace pkgfs
