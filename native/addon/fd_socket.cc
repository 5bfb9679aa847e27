// Unix stream sockets that carry file descriptors, which Node's own do not: bind, listen, connect,
// accept, and one recvmsg or sendmsg per call; and datagram sockets, of which Node has none. No
// call blocks, and every fd is close-on-exec from birth. Also the numbers of users and groups that
// may use a socket.
//
// What to do when a path is taken, who may connect, and when to retry is decided in
// src/native/fd-socket.ts.
//
// Sources: unix(7), cmsg(3), recvmsg(2), getpwnam_r(3), getgrnam_r(3).

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <utility>
#include <vector>

#include "addon/addon.h"

namespace tsvswitch {

namespace {

// vhost-user sends at most 8 fds with a message (SET_MEM_TABLE). The kernel closes what does not
// fit and says so, which keeps a peer from filling our fd table.
constexpr size_t kReceivedFdsMax = 32;
// SCM_MAX_FD of the kernel.
constexpr size_t kSentFdsMax = 253;

// Owns an fd until it is handed to JavaScript.
class ScopedFd {
 public:
  explicit ScopedFd(int fd) : fd_(fd) {}
  ~ScopedFd() {
    if (fd_ >= 0) close(fd_);
  }
  ScopedFd(const ScopedFd&) = delete;
  ScopedFd& operator=(const ScopedFd&) = delete;
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

sockaddr_un AddressArgument(const Napi::CallbackInfo& info, size_t index, std::string* path) {
  *path = StringArgument(info, index, "path");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // One byte of sun_path stays for the NUL.
  if (path->size() >= sizeof address.sun_path) {
    throw FaultError(
        info.Env(), "socket-path-too-long",
        {{"path", *path}, {"bytes", path->size()}, {"max", sizeof address.sun_path - 1}});
  }
  if (path->empty()) throw FaultError(info.Env(), "socket-path-empty");
  std::memcpy(address.sun_path, path->data(), path->size());
  return address;
}

using AddressCall = int (*)(int, const sockaddr*, socklen_t);

// Makes a socket of a type and binds or connects it to the path in argument 0.
Napi::Value OpenSocket(const Napi::CallbackInfo& info, int type, AddressCall call,
                       const char* syscall, const char* action) {
  std::string path;
  const sockaddr_un address = AddressArgument(info, 0, &path);
  ScopedFd fd(socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) throw SystemError(info.Env(), "socket", "cannot make a unix socket", errno);
  if (call(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw SystemError(info.Env(), syscall, action + path, errno);
  }
  const Napi::Number result = Napi::Number::New(info.Env(), fd.get());
  fd.Release();
  return result;
}

Napi::Value SocketBind(const Napi::CallbackInfo& info) {
  return OpenSocket(info, SOCK_STREAM, bind, "bind", "cannot bind ");
}

// A unix socket connects at once or fails, also when non-blocking: EAGAIN is a full backlog.
Napi::Value SocketConnect(const Napi::CallbackInfo& info) {
  return OpenSocket(info, SOCK_STREAM, connect, "connect", "cannot connect to ");
}

Napi::Value SocketListen(const Napi::CallbackInfo& info) {
  const int fd = FdArgument(info, 0);
  const int backlog = static_cast<int>(IntegerArgument(info, 1, "backlog", 1, 4096));
  if (listen(fd, backlog) != 0) {
    throw SystemError(info.Env(), "listen", "cannot listen on fd " + std::to_string(fd), errno);
  }
  return info.Env().Undefined();
}

Napi::Value SocketAccept(const Napi::CallbackInfo& info) {
  const int fd = FdArgument(info, 0);
  ScopedFd connection(accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (connection.get() < 0) {
    // All of these mean that no connection is here now; a watched fd calls again if one is.
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return info.Env().Undefined();
    throw SystemError(info.Env(), "accept4", "cannot accept a connection", errno);
  }
  const Napi::Number result = Napi::Number::New(info.Env(), connection.get());
  connection.Release();
  return result;
}

// Copies the fds of every SCM_RIGHTS message into `fds`, which has room for all that fit in
// `header`.
size_t TakeFds(msghdr* header, int* fds) {
  size_t count = 0;
  for (cmsghdr* control = CMSG_FIRSTHDR(header); control != nullptr;
       control = CMSG_NXTHDR(header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const size_t bytes = control->cmsg_len - CMSG_LEN(0);
    std::memcpy(fds + count, CMSG_DATA(control), bytes);
    count += bytes / sizeof(int);
  }
  return count;
}

Napi::Value SocketReceive(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int fd = FdArgument(info, 0);
  const Bytes into = BytesArgument(info, 1, "into");
  if (into.size == 0) throw WrongArgument(info, "into", "of one byte or more");

  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kReceivedFdsMax)];
  iovec vector{into.data, into.size};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t received = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received < 0) {
    if (errno == EAGAIN || errno == EINTR) return env.Undefined();
    // A peer that closes with bytes of ours unread resets the stream: an end like any other here.
    if (errno != ECONNRESET) {
      throw SystemError(env, "recvmsg", "cannot receive on fd " + std::to_string(fd), errno);
    }
    received = 0;
    header.msg_controllen = 0;
    header.msg_flags = 0;
  }
  int fds[sizeof control / sizeof(int)];
  const size_t fd_count = TakeFds(&header, fds);
  try {
    Napi::Array fd_array = Napi::Array::New(env, fd_count);
    for (uint32_t i = 0; i < fd_count; ++i) fd_array.Set(i, Napi::Number::New(env, fds[i]));
    Napi::Object message = Napi::Object::New(env);
    message.Set("bytes", Napi::Number::New(env, static_cast<double>(received)));
    message.Set("fds", fd_array);
    message.Set("fdsTruncated", Napi::Boolean::New(env, (header.msg_flags & MSG_CTRUNC) != 0));
    return message;
  } catch (...) {
    // Nobody else knows these numbers.
    for (size_t i = 0; i < fd_count; ++i) close(fds[i]);
    throw;
  }
}

Napi::Value SocketSend(const Napi::CallbackInfo& info) {
  const int fd = FdArgument(info, 0);
  const Bytes bytes = BytesArgument(info, 1, "bytes");
  const std::vector<int> fds = FdListArgument(info, 2, kSentFdsMax);
  if (bytes.size == 0) {
    throw WrongArgument(info, "bytes", "of one byte or more, as fds go with bytes only");
  }

  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kSentFdsMax)];
  iovec vector{bytes.data, bytes.size};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    const size_t fd_bytes = fds.size() * sizeof(int);
    std::memset(control, 0, CMSG_SPACE(fd_bytes));
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fd_bytes);
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fd_bytes);
    std::memcpy(CMSG_DATA(rights), fds.data(), fd_bytes);
  }
  const ssize_t sent = sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno == EAGAIN || errno == EINTR) return Napi::Number::New(info.Env(), 0);
    throw SystemError(info.Env(), "sendmsg", "cannot send on fd " + std::to_string(fd), errno);
  }
  return Napi::Number::New(info.Env(), static_cast<double>(sent));
}

// Its supplementary groups. The kernel says how many there are where there was too little room, and
// what a connection was made with never changes.
std::vector<gid_t> GroupsOfPeer(Napi::Env env, int fd) {
  constexpr size_t kRoom = 64;
  std::vector<gid_t> groups(kRoom);
  for (int time = 0; time < 2; ++time) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const int failed = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
    groups.resize(size / sizeof(gid_t));
    if (failed == 0) return groups;
    // Before Linux 4.13 there is no such option.
    if (errno == ENOPROTOOPT) return {};
    if (errno == ERANGE) continue;
    throw SystemError(env, "getsockopt", "cannot tell the groups of fd " + std::to_string(fd),
                      errno);
  }
  // QEMU, where it runs another processor's programs, does not say how many.
  return {};
}

Napi::Value SocketPeer(const Napi::CallbackInfo& info) {
  const int fd = FdArgument(info, 0);
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    throw SystemError(info.Env(), "getsockopt", "cannot tell the peer of fd " + std::to_string(fd),
                      errno);
  }
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("pid", Napi::Number::New(info.Env(), peer.pid));
  result.Set("uid", Napi::Number::New(info.Env(), peer.uid));
  result.Set("gid", Napi::Number::New(info.Env(), peer.gid));
  const std::vector<gid_t> groups = GroupsOfPeer(info.Env(), fd);
  Napi::Array list = Napi::Array::New(info.Env(), groups.size());
  for (size_t i = 0; i < groups.size(); ++i) {
    list.Set(static_cast<uint32_t>(i), Napi::Number::New(info.Env(), groups[i]));
  }
  result.Set("groups", list);
  return result;
}

Napi::Value DatagramBind(const Napi::CallbackInfo& info) {
  return OpenSocket(info, SOCK_DGRAM, bind, "bind", "cannot bind ");
}

Napi::Value DatagramConnect(const Napi::CallbackInfo& info) {
  return OpenSocket(info, SOCK_DGRAM, connect, "connect", "cannot connect to ");
}

Napi::Value DatagramReceive(const Napi::CallbackInfo& info) {
  const int fd = FdArgument(info, 0);
  const Bytes into = BytesArgument(info, 1, "into");
  // With its real length, also if it was longer than the room for it. Fds that came along are
  // closed by the kernel, as there is no room for any.
  const ssize_t bytes = recv(fd, into.data, into.size, MSG_DONTWAIT | MSG_TRUNC);
  if (bytes >= 0) return Napi::Number::New(info.Env(), static_cast<double>(bytes));
  if (errno == EAGAIN || errno == EINTR) return info.Env().Undefined();
  throw SystemError(info.Env(), "recv", "cannot receive on fd " + std::to_string(fd), errno);
}

Napi::Value DatagramSend(const Napi::CallbackInfo& info) {
  const int fd = FdArgument(info, 0);
  const Bytes bytes = BytesArgument(info, 2, "bytes");
  std::string path;
  const sockaddr_un address = AddressArgument(info, 1, &path);
  const ssize_t sent = sendto(fd, bytes.data, bytes.size, MSG_DONTWAIT | MSG_NOSIGNAL,
                              reinterpret_cast<const sockaddr*>(&address), sizeof address);
  // A number and no error: it is the common case with a peer that is slow or away, once for each
  // frame.
  return Napi::Number::New(info.Env(), sent < 0 ? errno : 0);
}

// Asks the C library, so that users and groups of LDAP or systemd count as well as those in /etc.
// `look_up` is getpwnam_r or getgrnam_r, `number` the member of an Entry.
template <class Entry, class LookUp, class Number>
Napi::Value NumberOfName(const Napi::CallbackInfo& info, LookUp look_up, Number Entry::* number) {
  const std::string name = StringArgument(info, 0, "name");
  // A group with very many members needs more room; 1 MiB holds about 50 000 of them.
  constexpr size_t kBufferBytesMax = size_t{1} << 20;
  for (size_t bytes = 4096; bytes <= kBufferBytesMax; bytes *= 4) {
    std::vector<char> buffer(bytes);
    Entry entry{};
    Entry* found = nullptr;
    const int error = look_up(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (error == ERANGE) continue;
    if (found == nullptr) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), entry.*number);
  }
  return info.Env().Undefined();
}

Napi::Value UserId(const Napi::CallbackInfo& info) {
  return NumberOfName(info, getpwnam_r, &passwd::pw_uid);
}

Napi::Value GroupId(const Napi::CallbackInfo& info) {
  return NumberOfName(info, getgrnam_r, &group::gr_gid);
}

}  // namespace

void ExportFdSocket(Napi::Env env, Napi::Object exports) {
  ExportFunction<SocketBind, 1>(env, exports, "socketBind");
  ExportFunction<SocketListen, 2>(env, exports, "socketListen");
  ExportFunction<SocketConnect, 1>(env, exports, "socketConnect");
  ExportFunction<SocketAccept, 1>(env, exports, "socketAccept");
  ExportFunction<SocketReceive, 2>(env, exports, "socketReceive");
  ExportFunction<SocketSend, 3>(env, exports, "socketSend");
  ExportFunction<SocketPeer, 1>(env, exports, "socketPeer");
  ExportFunction<DatagramBind, 1>(env, exports, "datagramBind");
  ExportFunction<DatagramConnect, 1>(env, exports, "datagramConnect");
  ExportFunction<DatagramReceive, 2>(env, exports, "datagramReceive");
  ExportFunction<DatagramSend, 3>(env, exports, "datagramSend");
  ExportFunction<UserId, 1>(env, exports, "userId");
  ExportFunction<GroupId, 1>(env, exports, "groupId");
}

}  // namespace tsvswitch
