// Package dash is the dashboard: it draws what bottle-ls prints and runs the
// other programs. State and View are pure: events and the time go in, effects
// and cells come out. Show is the edge: terminal, child programs, clock.
//
// What a decision key does is what stands under the cursor when it is pressed,
// so nothing but the operator may move the cursor unseen. After any other change
// decision keys are dead until the keyboard was quiet for a second, and the first
// decision then asks for a capital Y (THREATS.md S15).
package dash
