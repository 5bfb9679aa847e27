// What a service manager gives a process, and where it is told of it: sockets that it was started
// with, and the datagram socket for notifications.
//
// Which of them are wanted, and what is told, is decided in src/operate/service.
//
// Thread: the JavaScript thread of the environment. Sources: sd_notify(3), sd_listen_fds(3),
// unix(7).

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "addon/addon.h"

namespace tsvswitch {

namespace {

// A socket connected to a service manager's, whose path begins with @ if it is in no file system.
Napi::Value NotifyConnect(const Napi::CallbackInfo& info) {
  const std::string name = StringArgument(info, 0, "name");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() < 2 || name.size() >= sizeof address.sun_path ||
      (name[0] != '/' && name[0] != '@')) {
    throw FaultError(info.Env(), "notify-no-socket", {{"name", name}});
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';
  // An abstract name is as long as it is said to be; a path ends with the NUL behind it.
  const size_t bytes = offsetof(sockaddr_un, sun_path) + name.size();
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw SystemError(info.Env(), "socket", "cannot make a unix socket", errno);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(bytes)) !=
      0) {
    const int why = errno;
    close(fd);
    throw SystemError(info.Env(), "connect", "cannot connect to " + name, why);
  }
  return Napi::Number::New(info.Env(), fd);
}

int SocketOption(int fd, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

// Takes over an fd that was there when the process began: no program that is started gets it, and
// no call on it waits. Tells the path of a unix stream socket that listens; of nothing else.
Napi::Value AdoptFd(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int fd = FdArgument(info, 0);
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
      fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    throw SystemError(env, "fcntl", "cannot take over fd " + std::to_string(fd), errno);
  }
  sockaddr_un address{};
  socklen_t bytes = sizeof address;
  if (SocketOption(fd, SO_DOMAIN) != AF_UNIX || SocketOption(fd, SO_TYPE) != SOCK_STREAM ||
      SocketOption(fd, SO_ACCEPTCONN) != 1 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) != 0 ||
      bytes <= offsetof(sockaddr_un, sun_path) || address.sun_path[0] == '\0') {
    return env.Undefined();
  }
  const size_t room = bytes - offsetof(sockaddr_un, sun_path);
  return Napi::String::New(env, address.sun_path, strnlen(address.sun_path, room));
}

// Two ends of a connection that keeps the bounds of messages, for what is to outlive this process:
// whoever holds both ends holds the messages that nobody has read, with the fds in them.
Napi::Value SocketPair(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
    throw SystemError(env, "socketpair", "cannot make a pair of unix sockets", errno);
  }
  const Napi::Array pair = Napi::Array::New(env, 2);
  for (uint32_t i = 0; i < 2; ++i) pair.Set(i, Napi::Number::New(env, ends[i]));
  return pair;
}

// Holds until every copy of the fd is closed, as at the end of this process. False if another open
// file has it.
Napi::Value LockFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int fd = FdArgument(info, 0);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return Napi::Boolean::New(env, true);
  if (errno == EWOULDBLOCK) return Napi::Boolean::New(env, false);
  throw SystemError(env, "flock", "cannot lock fd " + std::to_string(fd), errno);
}

}  // namespace

void ExportService(Napi::Env env, Napi::Object exports) {
  ExportFunction<NotifyConnect, 1>(env, exports, "notifyConnect");
  ExportFunction<AdoptFd, 1>(env, exports, "adoptFd");
  ExportFunction<SocketPair, 0>(env, exports, "socketPair");
  ExportFunction<LockFile, 1>(env, exports, "lockFile");
}

}  // namespace tsvswitch
