// A page opened from disk may start no worker; what one would do is done in a hidden frame there.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.ready = new Promise((resolve, reject) => {
        this.frame.onload = () => {
          const inside = this.frame.contentWindow;
          inside.postMessage = (data) => this.onmessage?.(new MessageEvent("message", { data }));
          const script = inside.document.createElement("script");
          script.src = new URL(url, location.href).href;
          script.onload = resolve;
          script.onerror = reject;
          inside.document.head.append(script);
        };
      });
      this.ready.catch(() => this.onerror?.(new Event("error")));
      document.body.append(this.frame);
    }

    postMessage(data) {
      const given = () =>
        this.frame.contentWindow?.onmessage(new MessageEvent("message", { data }));
      this.ready.then(given, () => {});
    }

    terminate() {
      this.frame.remove();
    }
  };
}
