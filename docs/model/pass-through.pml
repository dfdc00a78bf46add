/*
 * What a pass-through controller can come to know (invariant 8 of wire profile 1), for spin: see README.md beside this file.
 *
 * One controller C that is dishonest and hears everything, and a node, which has one key after the other: each follows from the one
 * before, so that who knows one and listens knows the next. A second node came with the same initial key. An administrator switches
 * C to pass-through and back, moves either node to C and away, and gives the first a new initial key of its own.
 *
 * Each step is one transaction of the registry, or one answer of the auth-server.
 *
 * What stands under #ifdef beside a rule is a mutant that breaks it, for which `check` sees that spin finds out.
 */

bool on;             /* C is pass-through */
bool first, second;  /* the node, and the one with the same initial key, are assigned to C */
bool shared = true;  /* the key of the first comes of that initial key */

/* What C knows: K_i, the initial key of the second, and a key that the device may hold while it has not got its new one. */
bool knowsKey, knowsShared, knowsFormer;
bool pending;        /* a new initial key is in the registry, and the node has not joined with it */

/* What the registry keeps, by key identity: C could have a key that came of it. */
bool listedKey, listedShared, listedFormer;

/* What an auth-server has read for an M2 and not yet answered. */
bool reading, readOn, readShared;

/* Nodes that are assigned to C while it is not pass-through. Ends every step of the administrator's. */
inline list() {
#ifndef SWITCH_NOT_LISTED
  listedKey = listedKey || (first && !on);
  listedShared = listedShared || (second && !on);
#endif
#ifndef LISTED_BY_NODE
  listedKey = listedKey || (shared && listedShared);
  listedShared = listedShared || (shared && listedKey)
#endif
}

/* C is given a key that opens M4. */
inline learn() {
  knowsKey = true;
  knowsShared = knowsShared || shared
}

/* Ends every step: what C knows, it was on the list for. */
inline settle() {
  knowsKey = knowsKey || (shared && knowsShared);
  assert(!knowsKey || listedKey);
  assert(!(pending && knowsFormer) || listedFormer)
}

active proctype Administrator() {
  do
  :: atomic { on = !on;
#ifndef SWITCH_NOT_LISTED
       list();
#endif
       settle() }
  :: atomic { first = !first;
#ifdef SWITCH_NOT_LISTED
       listedKey = listedKey || (first && !on);
#endif
       list(); settle() }
  :: atomic { second = !second;
#ifdef SWITCH_NOT_LISTED
       listedShared = listedShared || (second && !on);
#endif
       list(); settle() }
  /* node reset --out: nobody but the registry has the new key. The device has the one before. */
  :: atomic {
       knowsFormer = (pending && knowsFormer) || knowsKey;
#ifndef FORGOTTEN_AT_RESET
       listedFormer = (pending && listedFormer) || listedKey;
#endif
       knowsKey = false;
       listedKey = false;
       shared = false;
       pending = true;
       list();
       settle()
     }
  od
}

active proctype AuthServer() {
  do
  /* M2 for the first node: what C is, and K_i, in one snapshot. */
  :: atomic {
       first && !reading -> readOn = on; readShared = shared;
#ifdef FLAG_READ_APART
       reading = true
#else
       if
#ifdef M3_WHILE_ON
       :: true -> learn()
#endif
       :: !readOn -> learn()
       :: else
       fi;
       settle()
#endif
     }
  :: atomic {
       reading -> reading = false;
       if
       :: !readOn && first -> learn()
       :: else
       fi;
       settle()
     }
  /* M2 for the second. */
  :: atomic { second && !on -> knowsShared = true; settle() }
  /* M7: the key is replaced by one that follows from it. While C is pass-through it gets the application root. */
  :: atomic {
       true -> skip;
#ifdef ROOT_IS_KEY
       if
       :: first && on -> knowsKey = true
       :: else
       fi;
#endif
       pending = false;
       knowsFormer = false;
       listedFormer = false;
       settle()
     }
  od
}
