/* commit_gate.pml - Spin model of the commit gate: two-phase commit with the journal as the point of no return.
 *
 * step-commit + membership protocol: N workers, S steps, crash of workers and coordinator, false suspicion, stale messages.
 * Run by commit_gate.sh; with -DNOGATE workers believe their collective, and the search finds the error. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef N
#define N 3
#endif
#ifndef S
#define S 2
#endif
#ifndef MAXG
#define MAXG 4
#endif
#ifndef WCR
#define WCR 1
#endif
#ifndef CCR
#define CCR 1
#endif
#define IX(w,s) ((w)*(S+1)+(s))
bit alive[N]; byte applied[N]; byte wgen[N]; byte prep[N]; byte pgen[N]; byte contrib[N]; byte cgenw[N]; byte agen[N*(S+1)];
byte lg_commit=0, lg_gen=1, lg_mem=(1<<N)-1; byte lg_cgen[S+1]; byte oldmem[MAXG+1];
byte votes=0; byte wcr=0, ccr=0;
mtype={COMMIT,NEWGEN}; chan d[N]=[2] of {mtype,byte,byte,byte}; /* type, gen, commit step, commit gen */
#define MEM(g) oldmem[g]
inline doapply(w,s,g){ assert(s==applied[w]+1); agen[IX(w,s)]=g; applied[w]=s; }
inline checkinv(w){ i2=1; do :: i2<=applied[w] -> assert(applied[w]<=lg_commit); assert(agen[IX(w,i2)]==lg_cgen[i2]); i2++ :: else break od }
proctype W(byte w){ byte g,s,cg,i2; mtype t; byte m; bit ok;
end: do
 :: atomic{ alive[w] && applied[w]<S && !(contrib[w]==applied[w]+1 && cgenw[w]==wgen[w]) -> contrib[w]=applied[w]+1; cgenw[w]=wgen[w] }
 :: atomic{ alive[w] && contrib[w]==applied[w]+1 && cgenw[w]==wgen[w] && !(prep[w]==applied[w]+1 && pgen[w]==wgen[w]) ->
     m=0; ok=1; do :: m<N -> if :: (MEM(wgen[w])>>m)&1 && !(cgenw[m]==wgen[w] && contrib[m]>=applied[w]+1) -> ok=0 :: else fi; m++ :: else break od;
     if :: ok -> 
#ifdef NOGATE
        doapply(w,applied[w]+1,wgen[w]);
#else
        prep[w]=applied[w]+1; pgen[w]=wgen[w]
#endif
     :: else fi; m=0; ok=0 }
 :: atomic{ alive[w] && d[w]?[_,_,_,_] -> d[w]?t,g,s,cg;
     if :: t==COMMIT && g==wgen[w] && prep[w]==s && pgen[w]==cg && applied[w]+1==s -> doapply(w,s,cg); prep[w]=0
        :: t==NEWGEN && g>wgen[w] -> 
             if :: applied[w]+1==s && prep[w]==s && pgen[w]==cg -> doapply(w,s,cg) :: else fi;
#ifndef NOGATE
             if :: applied[w]<s -> m=applied[w]+1; do :: m<=s -> agen[IX(w,m)]=lg_cgen[m]; m++ :: else break od; applied[w]=s; m=0 :: else fi;
             assert(applied[w]==s);  /* all members of a new generation start from the same step */
#else
             m=0; do :: m<N -> assert(!(m!=w && alive[m] && wgen[m]==g && contrib[m]<=applied[m] && applied[m]!=applied[w])); m++ :: else break od; m=0;
#endif
             wgen[w]=g; prep[w]=0
        :: else fi; t=0; g=0; s=0; cg=0;
     
#ifndef NOGATE
 checkinv(w); i2=0
#else
 skip
#endif
 }
 :: atomic{ alive[w] && wcr<WCR -> wcr++; alive[w]=0 }
od }
proctype C(){ byte m,nm; bit hold;
end: do
 :: atomic{ lg_commit<S -> m=0; do :: m<(N-1) -> m++ :: break od; if :: ((lg_mem>>m)&1) && alive[m] && 
#ifdef NOGATE
 applied[m]>=lg_commit+1 && wgen[m]==lg_gen
#else
 prep[m]==lg_commit+1 && pgen[m]==lg_gen && wgen[m]==lg_gen
#endif
 -> votes=votes|(1<<m) :: else fi; m=0 }   /* VOTE received */
 :: atomic{ lg_commit<S && votes==lg_mem -> lg_commit++; lg_cgen[lg_commit]=lg_gen; votes=0 }   /* durable COMMIT record */
 :: atomic{ lg_commit>0 && lg_cgen[lg_commit]==lg_gen -> m=0; do :: m<(N-1) -> m++ :: break od; if :: ((lg_mem>>m)&1) && nfull(d[m]) -> d[m]!COMMIT,lg_gen,lg_commit,lg_gen :: else fi; m=0 }  /* (re)send decision; may duplicate */
 :: atomic{ lg_gen<MAXG -> /* reconfigure on death or (false) suspicion: any non-empty subset; joins/rejoins too */
      m=0; nm=0; do :: m<N -> if :: alive[m] -> if :: nm=nm|(1<<m) :: skip fi :: else fi; m++ :: else break od;
      hold=0; m=0; do :: m<N -> if :: ((nm>>m)&1) && (applied[m]==lg_commit || (prep[m]==lg_commit && pgen[m]==lg_cgen[lg_commit])) -> hold=1 :: else fi; m++ :: else break od;
#ifdef NOGATE
 hold=1;
#endif
 if :: hold && nm!=0 && nm!=lg_mem -> lg_gen++; lg_mem=nm; oldmem[lg_gen]=nm; votes=0 :: else fi; m=0; nm=0; hold=0 }
 :: atomic{ lg_gen>1 -> m=0; do :: m<(N-1) -> m++ :: break od; if :: ((lg_mem>>m)&1) && nfull(d[m]) && wgen[m]<lg_gen -> d[m]!NEWGEN,lg_gen,lg_commit,lg_cgen[lg_commit] :: else fi; m=0 }
 :: atomic{ ccr<CCR -> ccr++; votes=0 }  /* coordinator SIGKILL + restart: only lg_* survive */
od }
init{ atomic{ byte i=0; do :: i<N -> alive[i]=1; wgen[i]=1; i++ :: else break od; oldmem[1]=lg_mem; i=0; do :: i<N -> run W(i); i++ :: else break od; run C() } }
