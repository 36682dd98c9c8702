// The channel by which our own clients reach a server.
#ifndef ANYPREC_SERVER_CLIENT_CHANNEL_H_
#define ANYPREC_SERVER_CLIENT_CHANNEL_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace anyprec {

// Connects at the first call to `address` ("127.0.0.1:50051"), never by way of
// a proxy. Calls end in UNAVAILABLE within half a minute of the server falling
// silent, whatever their deadline.
std::shared_ptr<grpc::Channel> NewClientChannel(const std::string& address);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_CLIENT_CHANNEL_H_
