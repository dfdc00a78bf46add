/** `deliver`, for the command lines of the daemons that serve a key socket. */

export { deliverCommand, type DeliverProgram } from './deliver-command.js';
