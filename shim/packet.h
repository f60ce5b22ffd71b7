/* What both ways to receive from an AF_PACKET socket say of a frame that is of no use. */
#ifndef AOED_PACKET_H
#define AOED_PACKET_H

/* In place of a length: longer than the capacity, or too long in the socket. */
enum { PACKET_TRUNCATED = -1, PACKET_STALE = -2 };

#endif
