export interface SessionStreams {
  open(id: string, end: () => void): () => void;
}
