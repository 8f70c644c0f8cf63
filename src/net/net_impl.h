/* Inside net/: the rules about hosts, ports and addresses. */
#pragma once
#include "net/net.h"

enum { NET_HOST_BYTES = 256 };

/* A URL as libcurl understands it: the same parser decides and connects. */
typedef struct net_target {
    bool tls;
    char host[NET_HOST_BYTES]; /* lower case, without brackets */
    int port;
} net_target;

/* What the rules say about a target. */
typedef enum net_verdict {
    NET_REFUSED,
    NET_PUBLIC, /* only at public addresses */
    NET_ANY     /* the administrator listed it */
} net_verdict;

err_code net_target_parse(str url, net_target *ret, err *e);
net_verdict net_policy(const char *hosts, const net_target *t, str home);
/* Is the host a literal of an address that is not public, or a name for this machine? */
bool net_host_is_private(const char *host);
/* The proxy for a target; NULL = none. This machine itself is never asked through one. */
const char *net_proxy_for(const net_config *c, const net_target *t);
