// SPDX-License-Identifier: MIT
// Risk: real engines send other requests than the protocol's description says, or a failure leaves the engine or the
// plugin stuck.
#include "tests/containers/engines.h"
#include "tests/net/net.h"

namespace pkgfs::test {
namespace {

TEST_F(Podman, ContainersShareAMountThatOutlivesThePlugin) {
  expect(run("podman", R"sh(
plugin
podman volume create --driver pkgfs -o package=python/python py
podman run -d --name one -v py:/p:ro busybox sleep 100
podman run -d --name two -v py:/p:ro --user 1000 busybox sleep 100
[ "$(mounted py)" = 1 ]
server=$(pgrep -f 'pkgfs mount')
kill -KILL $plugin
podman exec one cat /p/lib/python3.12/os.py
podman exec two cat /p/lib/python3.12/json/__init__.py
echo "while it is down:"; fails podman volume ls
plugin
podman volume ls
podman run --rm -v py:/p:ro busybox ls /p/lib
[ "$(pgrep -f 'pkgfs mount')" = "$server" ]
podman rm -f -t 0 one > /dev/null
sleep 1.5; [ "$(mounted py)" = 1 ]
podman exec two cat /p/lib/python3.12/os.py
podman rm -f -t 0 two > /dev/null
unmounted py
ended 'pkgfs mount'
podman volume rm py
[ -z "$(podman volume ls -q)" ]
)sh"),
         {"# os\n# json\nwhile it is down:\n", "required plugin", "pkgfs       py\n", "python3.12\n# os\npy\n"});
}

/// A container reads all the time, while the daemon of its volume, the keeper and the plugin are killed in turn.
constexpr const char* kReadsOn = R"sh(
plugin
said() { pkgfs stats --json /run/pkgfs/volumes/py | sed -n "s/^ *\"$1\": \([0-9]*\),*$/\1/p"; }
kept() { for _ in $(seq 100); do [ -z "$(said keeper)" ] || return 0; sleep 0.05; done; echo "no keeper"; exit 1; }
replaced() { for _ in $(seq 100); do now=$(said $1); [ -z "$now" ] || [ "$now" = "$2" ] || return 0; sleep 0.05; done; echo "no other $1"; exit 1; }
$ENGINE volume create $CREATE pkgfs -o package=python/python py > /dev/null
$ENGINE run -d --name one --network none -v py:/p:ro busybox sh -c '
  cd /p/lib/python3.12 && exec 7< os.py
  while cat os.py json/__init__.py > /dev/null && find . > /dev/null; do :; done
  echo "a reader failed"; sleep 100' > /dev/null
for round in 1 2 3; do
  daemon=$(said pid); kill -KILL $daemon; replaced pid $daemon
  kept; keeper=$(said keeper); kill -KILL $keeper; replaced keeper $keeper
  kill -KILL $plugin; wait $plugin 2> /dev/null || true; plugin
done
$ENGINE exec one cat /p/lib/python3.12/os.py
[ "$(said generation)" -ge 2 ]
[ "$(mounted py)" = 1 ]
mkdir /run/other; cp $(readlink /proc/$(said pid)/exe) $(dirname $(readlink /proc/$(said pid)/exe))/pkgfs-keeper /run/other/
daemon=$(said pid); /run/other/pkgfs upgrade-mounts; replaced pid $daemon
[ "$(readlink /proc/$(said pid)/exe)" = /run/other/pkgfs ]
$ENGINE exec one cat /p/lib/python3.12/json/__init__.py
echo "logs: $($ENGINE logs one 2>&1)"
$ENGINE rm -f $AT_ONCE one > /dev/null
unmounted py
ended 'pkgfs mount'
$ENGINE volume rm py
)sh";

TEST_F(Podman, AContainerReadsOnThroughKillsAndAnUpgrade) {
  expect(run("podman", kReadsOn, {{"ENGINE", "podman"}, {"CREATE", "--driver"}, {"AT_ONCE", "-t 0"}}),
         {"# os\n", " runs this program now\n# json\nlogs: \npy\n"});
}

TEST_F(Podman, WrongOptionsAreShownAndLeaveNothing) {
  expect(run("podman", R"sh(
plugin
fails podman volume create --driver pkgfs -o pakage=python/python x
fails podman volume create --driver pkgfs -o package=python/python -o conflicts=maybe x
fails podman volume create --driver pkgfs -o package=python/absent x
fails podman volume create --driver pkgfs -o package=python/python@^4 x
podman volume create --driver pkgfs -o package=python/python -o strict x
fails podman run --rm -v x:/p busybox touch /p/new
podman rm -fa -t 0
podman volume rm x
[ -z "$(podman volume ls -q)" ]
[ -z "$(ls /run/pkgfs/volumes)" ]
)sh"),
         {"unknown mount option 'pakage'", "\"maybe\" isn't merge, shadow or error", "python/absent", "python/python",
          "Read-only file system"});
}

TEST_F(Podman, APackageThatTakesLongIsReadyLater) {
  if (const std::string why = registry_missing(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  TestRegistry slow({sandbox_.registry()});
  slow.set_fault({.where = Fault::Where::kFiles, .latency_ms = 7000});
  // 10 s, because the script waits for the time-outs of both podman and the plugin.
  expect(run("podman", R"sh(
plugin
begin=$(date +%s%N)
podman volume create --driver pkgfs -o package=python/python -o registry=$SLOW slow
fails podman run --rm -v slow:/p:ro busybox ls /p/lib
echo "took $(( ($(date +%s%N) - begin) / 1000000000 )) s"
podman volume inspect slow --format '{{.MountCount}} {{.Status.state}}'
reaches slow ready
[ "$(mounted slow)" = 0 ]
podman run --rm -v slow:/p:ro busybox ls /p/lib
podman volume rm slow
[ "$(mounted slow)" = 0 ]
)sh",
             {{"SLOW", slow.endpoint()}}),
         {"still resolving and downloading \"python/python\"", "0 resolving\n", "python3.12\n"});
}

TEST_F(Podman, TheSocketOfAServiceManagerStartsThePlugin) {
  need({"systemd-socket-activate"});
  if (IsSkipped()) {
    return;
  }
  expect(run("podman", R"sh(
mkdir -p /run/docker/plugins
activate() { systemd-socket-activate -l $sock -E PATH -E HOME -E WASMER_REGISTRY pkgfs volume-plugin --keep=1 2>> /run/plugin.log & plugin=$!; }
activate
for _ in $(seq 50); do [ -S $sock ] && break; sleep 0.05; done
podman volume create --driver pkgfs -o package=python/python py
podman run -d --name one -v py:/p:ro busybox sleep 100
kill $plugin; wait $plugin || true
rm $sock; activate
for _ in $(seq 50); do [ -S $sock ] && break; sleep 0.05; done
podman volume ls
podman exec one ls /p/lib
podman rm -f -t 0 one > /dev/null
unmounted py
podman volume rm py
)sh"),
         {"pkgfs       py\n", "python3.12\n"});
}

TEST_F(Docker, ContainersShareAMountThatOutlivesThePlugin) {
  // 25 s: dockerd asks a plugin that is down for 15 s before it lists the other volumes.
  expect(run("docker", R"sh(
plugin
docker volume create -d pkgfs -o package=python/python py
docker run -d --name one --network none -v py:/p:ro busybox sleep 100 > /dev/null
docker run -d --name two --network none -v py:/p:ro --user 1000 \
    --mount type=volume,src=inline,dst=/q,readonly,volume-driver=pkgfs,volume-opt=package=wasmer/hello busybox sleep 100 > /dev/null
docker exec two ls /q/bin
[ "$(mounted py)" = 1 ]
state py
kill -KILL $plugin
docker exec one cat /p/lib/python3.12/os.py
echo "while it is down:"; docker volume ls 2>&1
plugin
docker volume ls -q
docker run --rm --network none -v py:/p:ro busybox ls /p/lib
docker rm -f one > /dev/null
sleep 1.5; [ "$(mounted py)" = 1 ]
docker exec two cat /p/lib/python3.12/os.py
docker rm -f two > /dev/null
unmounted py; unmounted inline
docker volume rm py inline
[ -z "$(docker volume ls -q)" ]
)sh"),
         {"hello\n", "\"users\":2", "# os\nwhile it is down:\n", "inline\npy\n", "python3.12\n# os\npy\ninline\n"});
}

TEST_F(Docker, AContainerReadsOnThroughKillsAndAnUpgrade) {
  expect(run("docker", kReadsOn, {{"ENGINE", "docker"}, {"CREATE", "-d"}, {"AT_ONCE", ""}}),
         {"# os\n", " runs this program now\n# json\nlogs: \npy\n"});
}

TEST_F(Docker, WhatCannotBeHadIsSaidAndLeavesNothing) {
  expect(
      run("docker", R"sh(
plugin
fails docker volume create -d pkgfs -o pakage=python/python x
fails docker volume create -d pkgfs -o package=python/absent x
fails docker run --rm --network none -v x:/p --volume-driver pkgfs busybox ls /p
# A registry that takes requests and says nothing.
python3 -c 'import socket,time; s=socket.create_server(("127.0.0.1", 7777)); time.sleep(100)' &
docker volume create -d pkgfs -o package=python/python -o registry=http://127.0.0.1:7777/graphql silent
fails docker run --rm --network none -v silent:/p busybox ls /p
docker volume rm silent
ended 'pkgfs (resolve|ls|mount)'
docker volume create -d pkgfs -o package=python/python -o o=strict,no_commands py
docker run --rm --network none -v py:/p busybox ls /p
docker volume rm py
[ -z "$(docker volume ls -q)" ]
[ -z "$(ls /run/pkgfs/volumes)" ]
)sh"),
      {"unknown mount option 'pakage'", "python/absent", "option 'package' is missing", "still resolving", "\nlib\n"});
}

/// Programs of a package that others made: wabt's, compiled to WebAssembly, run by the host's node inside a container.
class Atoms : public Engines {
 protected:
  void SetUp() override {
    Engines::SetUp();
    if (!IsSkipped()) {
      need({"node", "curl"});
    }
    if (!IsSkipped() && !shared_fixtures()) {
      GTEST_SKIP() << "the shared fixtures with wabt aren't here";
    }
    if (!IsSkipped()) {
      wabt_ = *shared_fixtures() / "third-party/wabt-1.0.37.wasmer";
      const std::string node = document_block("docs/CONTAINERS.md", "node");
      prepare_ = node.substr(0, node.find("mkdir")) + kWat;
    }
  }
  void run_in(const std::string& engine, const std::string& create, const std::string& start) {
    expect(run(engine,
               "plugin\n" + prepare_ + create + " -o package=$WABT tool\n" + start +
                   " -v tool:/pkg:ro -v $PWD:/work -v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro -w /work busybox"
                   " /usr/bin/node --no-warnings wasi.mjs /pkg/bin/wat2wasm a.wat -o a.wasm\n"
                   "node --no-warnings wasi.mjs /run/pkgfs/volumes/tool/bin/wasm-validate a.wasm\n"
                   "node -e 'WebAssembly.instantiate(require(\"fs\").readFileSync(\"a.wasm\"))"
                   ".then(m => console.log(m.instance.exports.answer()))'\n",
               {{"WABT", wabt_}}),
           {"\n42\n"});
  }

  static constexpr const char* kWat =
      "echo '(module (func (export \"answer\") (result i32) (i32.const 42)))' > a.wat\n";
  std::string wabt_;
  std::string prepare_;
};

TEST_F(Atoms, RunInAPodmanContainer) {
  need({"podman", "runc", "conmon"});
  if (!IsSkipped()) {
    run_in("podman", "podman volume create --driver pkgfs", "podman run --rm");
  }
}

/// The plugin is the user's, too.
TEST_F(Atoms, RunInAContainerOfAUser) {
  need({"podman", "runc", "conmon", "newuidmap", "fusermount3"});
  if (IsSkipped()) {
    return;
  }
  std::string plugin = document_block("docs/CONTAINERS.md", "rootless-volume");
  plugin.resize(plugin.find("podman volume"));
  expect(run("rootless",
             "sed \"s|/run/docker/plugins|$XDG_RUNTIME_DIR|\" $CONTAINERS_CONF > ~/containers.conf\n"
             "export CONTAINERS_CONF=$HOME/containers.conf\n" +
                 plugin + prepare_ +
                 "podman volume create --driver pkgfs -o package=$WABT tool\n"
                 "podman run --rm -v tool:/pkg:ro -v $PWD:/work -v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro"
                 " -w /work busybox /usr/bin/node --no-warnings wasi.mjs /pkg/bin/wat2wasm a.wat -o a.wasm\n"
                 "node -e 'WebAssembly.instantiate(require(\"fs\").readFileSync(\"a.wasm\"))"
                 ".then(m => console.log(m.instance.exports.answer()))'\n"
                 "podman volume rm tool\n",
             {{"WABT", wabt_}}),
         {"\n42\n"});
}

TEST_F(Atoms, RunInADockerContainer) {
  need({"dockerd", "docker"});
  if (!IsSkipped()) {
    run_in("docker", "docker volume create -d pkgfs", "docker run --rm --network none");
  }
}

TEST_F(Atoms, AreProgramsOfAUserNamespace) {
  std::string binfmt = document_block("docs/CONTAINERS.md", "binfmt");
  const std::string example = "pkgfs mount wasmer/hello /mnt && /mnt/bin/hello;";
  const std::size_t at = binfmt.find(example);
  ASSERT_NE(at, std::string::npos);
  binfmt.replace(at, example.size(),
                 "pkgfs mount $WABT /mnt && /mnt/bin/wat2wasm a.wat -o a.wasm && /mnt/bin/wasm2wat a.wasm;");
  expect(run("none", prepare_ + binfmt, {{"WABT", wabt_}}), {"answer"});
}

}  // namespace
}  // namespace pkgfs::test
