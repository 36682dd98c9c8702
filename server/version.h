// The version of server and client.
#ifndef ANYPREC_SERVER_VERSION_H_
#define ANYPREC_SERVER_VERSION_H_

namespace anyprec {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace anyprec

#endif  // ANYPREC_SERVER_VERSION_H_
